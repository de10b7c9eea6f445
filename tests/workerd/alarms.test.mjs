// What keeps sockets alive costs one alarm per gateway and 20 s, and nothing else; what is dead is found; late alarms
// harm nobody. Guarantees 5, P1.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from '../support/hosts/workerd.mjs';
import { Meter } from '../support/meter.mjs';
import { direct, group, listed, people } from '../support/people.mjs';
import { openSocket } from '../support/raw.mjs';
import { freshSecret } from '../support/server.mjs';

const SWEEP_MS = 20_000;
const websocket = { transports: ['websocket'] };
const about = (who) => ({ userId }) => userId === who.id;

const worker = (gateways) => start({
  env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret(), GATEWAYS: String(gateways) },
  bindings: { METER: 'on', SLEEP: undefined },
});

/** An authenticated websocket by hand; every packet with its time. */
async function raw(who, options) {
  const socket = await openSocket(who.server.baseUrl, '/socket.io/', { pings: true, ...options });
  socket.times = [];
  socket.ws.on('message', (data) => socket.times.push([String(data), Date.now()]));
  socket.send(`40${JSON.stringify({ token: who.token })}`);
  await socket.until((packet) => packet.startsWith('40'));
  return socket;
}

const online = async (client) => {
  const mark = client.mark;
  client.emit('presence:getOnline');
  return client.next('presence:onlineList', () => true, { from: mark });
};

describe('alarms', { concurrency: true }, () => {
  test('50 idle sockets: one alarm per gateway and sweep, one ping each, pongs wake nobody, nor does anything else', { timeout: 200_000 }, async (t) => {
    const server = await worker(2);
    const everybody = await people(server, 'ann', 'bob', 'cat', 'dan', 'eve');
    const crew = await group(everybody[0], everybody.slice(1));
    await Promise.all(everybody.map((one) => everybody[0].rest.post(`/api/chats/conversations/${crew.id}/messages`, { content: `of ${one.username}`, type: 'text' })));
    const stock = await Promise.all(everybody.flatMap((one) => Array.from({ length: 5 }, () => one.connect(websocket))));
    const raws = await Promise.all(everybody.flatMap((one) => Array.from({ length: 5 }, () => raw(one))));
    await Promise.all(stock.map((client) => client.resume({ [crew.id]: 0 })));
    // Everything that follows a start, until two sweeps went by in silence.
    await sleep(2 * SWEEP_MS - (Date.now() % SWEEP_MS) + SWEEP_MS / 2);

    const meter = new Meter(server);
    for (const socket of raws) socket.times = [];
    const pings = stock.map((client) => {
      const seen = { count: 0 };
      client.socket.io.on('ping', () => { seen.count += 1; });
      return seen;
    });
    await sleep(3 * SWEEP_MS);
    t.diagnostic(`60 s of 50 idle sockets: ${meter}`);
    for (const name of ['gw-0', 'gw-1']) {
      assert.equal(meter.sum('alarm', 'gateway', name), 3, `sweeps of ${name}: ${meter}`);
      for (const woken of ['frame', 'request', 'close', 'call', 'people']) assert.equal(meter.sum(woken, 'gateway', name), 0, `${woken} of ${name}: ${meter}`);
      // Asleep in between: each sweep begins a life, and costs the row of the next alarm.
      assert.equal(meter.sum('life', 'gateway', name), 3, `lives of ${name}: ${meter}`);
      assert.equal(meter.sum('rows', 'gateway', name), 3, `rows of ${name}: ${meter}`);
    }
    assert.deepEqual(meter.events().filter(({ kind }) => kind !== 'gateway'), [], 'nobody else was woken');
    for (const seen of pings) assert.equal(seen.count, 3);
    for (const socket of raws) {
      const times = socket.times.filter(([packet]) => packet === '2').map(([, at]) => at);
      assert.equal(times.length, 3, 'a ping per sweep, never as an answer');
      for (const [n, at] of times.slice(1).entries()) assert.ok(at - times[n] > SWEEP_MS - 3_000, `${at - times[n]} ms between pings`);
      assert.deepEqual(socket.times.filter(([packet]) => packet !== '2').map(([packet]) => packet), ['6', '6', '6'], 'each pong is answered by a noop');
    }
    for (const client of stock) assert.deepEqual([client.connects, client.all('$disconnect')], [1, []]);
    for (const socket of raws) socket.close();
    everybody.forEach((one) => one.close());
    await server.stop();
  });

  test('P1 a half-open client is closed by a sweep within 66 s, and its friends see it go', { timeout: 150_000 }, async (t) => {
    const server = await worker(2);
    const [ann, bob] = await people(server, 'ann', 'bob');
    await direct(ann, bob);
    const a = await ann.connect(websocket);
    const begun = Date.now();
    const silent = await raw(bob, { pong: false });
    await a.next('presence:online', about(bob));
    const code = await silent.ended(80_000);
    const closed = Date.now() - begun;
    t.diagnostic(`closed with ${code} after ${closed} ms`);
    assert.ok(closed > 44_000 && closed < 68_000, `${closed} ms`);
    await a.next('presence:offline', about(bob), { ms: 15_000 });
    t.diagnostic(`seen offline after ${Date.now() - begun} ms`);
    assert.deepEqual((await online(a)).filter((id) => id === bob.id), []);
    assert.deepEqual([a.connects, a.all('$disconnect')], [1, []], 'who answers stays');
    ann.close();
    await server.stop();
  });

  test('every alarm comes, also one that is set while another one runs: the list of conversations is never behind for long', { timeout: 90_000 }, async (t) => {
    const server = await worker(1);
    const [ann, bob] = await people(server, 'ann', 'bob');
    const pairs = await Promise.all(Array.from({ length: 6 }, () => group(ann, [bob])));
    const a = await ann.connect(websocket);
    const late = [];
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(pairs.map(async ({ id }) => {
        let seq;
        for (let n = 0; n < 5; n += 1) {
          ({ message: { seq } } = await a.ok('chat:message', { conversationId: id, content: `${round} ${n}`, type: 'text' }));
          await sleep(100);
        }
        const begun = Date.now();
        await listed(bob, id, seq, 6_000);
        late.push(Date.now() - begun);
      }));
    }
    t.diagnostic(`the list was behind for ${Math.max(...late)} ms at most`);
    ann.close();
    await server.stop();
  });

  test('alarms that are 25 s late: healthy clients are back within a reconnect, and presence is right', { timeout: 200_000 }, async (t) => {
    const server = await worker(2);
    const [ann, bob, cat] = await people(server, 'ann', 'bob', 'cat');
    const crew = await group(ann, [bob, cat]);
    const back = { ...websocket, reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 500 };
    const [a, b, c] = await Promise.all([ann, bob, cat].map((one) => one.connect(back)));
    const clients = [a, b, c];
    await Promise.all(clients.map((client) => client.resume({ [crew.id]: 0 })));
    for (const end = Date.now() + 10_000; (await online(a)).filter((id) => id !== ann.id).length < 2; await sleep(100)) assert.ok(Date.now() < end, 'never seen');
    await sleep(SWEEP_MS - (Date.now() % SWEEP_MS) + 15_000);
    const { child } = server.edge.workerd;
    child.kill('SIGSTOP');
    try {
      await sleep(25_000);
      // This one goes while nobody looks.
      c.close();
    } finally {
      child.kill('SIGCONT');
    }
    for (const end = Date.now() + 10_000; ![a, b].every((client) => client.socket.connected); await sleep(20)) assert.ok(Date.now() < end, 'not back');
    const after = await Promise.all([a, b].map((client) => client.ok('chat:message', { conversationId: crew.id, content: 'after', type: 'text' })));
    assert.deepEqual(after.map(({ message }) => message.seq).sort(), [1, 2]);
    for (const end = Date.now() + 20_000; ; await sleep(250)) {
      const seen = (await online(a)).filter((id) => id !== ann.id);
      if (seen.length === 1 && seen[0] === bob.id) break;
      assert.ok(Date.now() < end, `seen online: ${seen.length}`);
    }
    // And it stays so, over the next sweeps.
    await sleep(2 * SWEEP_MS);
    assert.deepEqual((await online(a)).filter((id) => id !== ann.id), [bob.id]);
    const wakes = [a, b].map((client) => `${client.connects} connections`);
    t.diagnostic(wakes.join(', '));
    for (const client of [a, b]) {
      assert.ok(client.connects <= 2, `${client.connects} connections`);
      if (client.connects === 2) await client.resume({ [crew.id]: 0 });
      assert.deepEqual([...new Set(client.seqs(crew.id))].sort(), [1, 2]);
      assert.deepEqual(client.all('presence:offline', about(ann)).concat(client.all('presence:offline', about(bob))), [], 'nobody flapped');
    }
    [ann, bob].forEach((one) => one.close());
    await server.stop();
  });
});
