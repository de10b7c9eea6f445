// People who talk all the time, with devices that live through everything, and what must be true when they are done.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from './device.mjs';
import { checkTruth, History, judge, row } from './history.mjs';
import { direct, group, people, wholeHistory } from './people.mjs';

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Four people with six devices in three conversations. */
export class Traffic {
  constructor(fields) {
    Object.assign(this, fields);
    this.on = false;
    this.loops = [];
  }

  /** `upgrade`: devices of bob and dan begin with polling, as a stock client does. */
  static async start(server, { upgrade = false } = {}) {
    const history = new History();
    const [ann, bob, cat, dan] = await people(server, 'ann', 'bob', 'cat', 'dan');
    const pair = (await direct(ann, bob)).id;
    const crew = (await group(ann, [bob, cat, dan])).id;
    const trio = (await group(bob, [cat, dan])).id;
    const device = (who, name, conversations, transports) => new Device(who, { name, conversations, history, transports }).start();
    const [plain, kind] = upgrade ? [undefined, 'default'] : [['websocket'], 'ws'];
    const devices = [
      device(ann, 'ann-ws', [pair, crew], ['websocket']), device(ann, 'ann-default', [pair, crew]),
      device(bob, `bob-${kind}`, [pair, crew, trio], plain), device(cat, 'cat-ws', [crew, trio], ['websocket']),
      device(cat, 'cat-polling', [crew, trio], ['polling']), device(dan, `dan-${kind}`, [crew, trio], plain),
    ];
    await Promise.all(devices.map((one) => one.settled()));
    return new Traffic({ server, history, ann, bob, cat, dan, pair, crew, trio, devices, conversations: [pair, crew, trio] });
  }

  /** Everybody sends and reads until `stop`, each device at most `flying` at once. `pause`: milliseconds between sends, at most. */
  go({ pause = 35, flying = 8 } = {}) {
    this.on = true;
    this.loops = this.devices.map(async (one, n) => {
      const inFlight = new Set();
      for (let k = n; this.on; k += 1) {
        const id = one.conversations[k % one.conversations.length];
        const sending = one.send(id).then(() => inFlight.delete(sending));
        inFlight.add(sending);
        if (k % 9 === 0) one.read(id);
        if (inFlight.size >= flying) await Promise.race(inFlight);
        await sleep(5 + ((k * 7) % pause));
      }
      await Promise.all(inFlight);
    });
    return this;
  }

  /**
   * Kills the server and starts it again, every fourth time once more while everybody is coming back. `before` and `after`
   * run around each of them.
   * @returns {Promise<number[]>} milliseconds of each restart
   */
  async crashes(cycles, { before = () => {}, after = () => {} } = {}) {
    const restarts = [];
    for (let cycle = 0; cycle < cycles; cycle += 1) {
      await sleep(150 + ((cycle * 397) % 900));
      await before();
      await this.server.kill();
      if (cycle % 3 === 2) await sleep(400);
      const begun = Date.now();
      await this.server.start();
      restarts.push(Date.now() - begun);
      if (cycle % 4 === 3) {
        await sleep(30);
        await this.server.kill();
        await this.server.start();
      }
      await after();
    }
    return restarts;
  }

  /** No more sends; all of them are resolved. */
  async stop(ms = 30_000) {
    this.on = false;
    const late = sleep(ms, 'late', { ref: false });
    const how = await Promise.race([Promise.all(this.loops), late]);
    if (how === 'late') assert.fail(`sends without an answer: ${this.devices.map((one) => `${one.name} ${one.pending.size} (${one.faults.join('; ')})`).join(', ')}`);
    await Promise.all(this.devices.map((one) => one.settled()));
  }

  /** Everybody has everything once and in order, and the checker agrees. Devices are closed. */
  async check(t, name) {
    const heads = new Map();
    for (const id of this.conversations) heads.set(id, (await wholeHistory(this.bob, id)).length);
    await Promise.all(this.devices.map((one) => one.caughtUp(heads)));
    const final = new Map();
    for (const id of this.conversations) final.set(id, await wholeHistory(this.bob, id));
    this.history.write('quiesced');
    for (const [conversation, rows] of final) this.history.write('final', { conversation, rows: rows.map(row) });
    this.devices.forEach((one) => one.close());
    this.history.keep(name);
    const acked = this.devices.flatMap((one) => one.acked);
    const refusals = this.devices.flatMap((one) => one.refusals);
    t.diagnostic(`${acked.length} acknowledged sends, ${this.devices.reduce((sum, one) => sum + one.connections, 0)} connections, refusals ${JSON.stringify(refusals)}`);
    assert.deepEqual(this.devices.flatMap((one) => one.faults), []);
    checkTruth(final, acked, this.devices);
    const verdict = await judge(this.history);
    if (!verdict) t.diagnostic('the history checker is not built; the checks here decide');
    else assert.ok(verdict.ok, verdict.text);
    return acked.length;
  }
}
