// kill -9 of the server in the middle of traffic, again and again: nothing acknowledged is lost, nothing is doubled, and
// every device has every message once. M1-M6. CRASH_CYCLES sets how often (12), HISTORY_DIR keeps the log.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../support/device.mjs';
import { checkTruth, History, judge, row } from '../support/history.mjs';
import { direct, group, people, person, wholeHistory } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { startServer } from '../support/server.mjs';

const CYCLES = Number(process.env.CRASH_CYCLES ?? 12);
const servers = [];
after(() => Promise.all(servers.map((server) => server.kill())));

const start = async (options) => {
  const server = await startServer(options);
  servers.push(server);
  return server;
};

/** Stored truth of every conversation, written to the log. */
async function truth(history, conversations, reader) {
  const final = new Map();
  for (const id of conversations) final.set(id, await wholeHistory(reader, id));
  history.write('quiesced');
  for (const [conversation, rows] of final) history.write('final', { conversation, rows: rows.map(row) });
  return final;
}

async function verdict(t, history, name) {
  history.keep(name);
  const answer = await judge(history);
  if (!answer) return t.diagnostic('the history checker is not built; the checks here decide');
  t.diagnostic(answer.text.trim().split('\n').slice(-12).join(' | '));
  assert.ok(answer.ok, answer.text);
}

describe('kill -9', () => {
  test(`M1-M6 ${CYCLES} crashes under traffic: losses 0, duplicates 0`, { timeout: 240_000 + CYCLES * 15_000 }, async (t) => {
    const server = await start();
    const history = new History();
    const [ann, bob, cat, dan] = await people(server, 'ann', 'bob', 'cat', 'dan');
    const pair = (await direct(ann, bob)).id;
    const crew = (await group(ann, [bob, cat, dan])).id;
    const trio = (await group(bob, [cat, dan])).id;
    const device = (who, name, conversations, transports) => new Device(who, { name, conversations, history, transports }).start();
    const devices = [
      device(ann, 'ann-ws', [pair, crew], ['websocket']), device(ann, 'ann-default', [pair, crew]), device(bob, 'bob-default', [pair, crew, trio]), device(cat, 'cat-ws', [crew, trio], ['websocket']),
      device(cat, 'cat-polling', [crew, trio], ['polling']), device(dan, 'dan-default', [crew, trio]),
    ];
    await Promise.all(devices.map((one) => one.settled()));

    let on = true;
    const traffic = devices.map(async (one, n) => {
      const inFlight = new Set();
      for (let k = n; on; k += 1) {
        const id = one.conversations[k % one.conversations.length];
        const sending = one.send(id).then(() => inFlight.delete(sending));
        inFlight.add(sending);
        if (k % 9 === 0) one.read(id);
        if (inFlight.size >= 8) await Promise.race(inFlight);
        await sleep(5 + ((k * 7) % 30));
      }
      await Promise.all(inFlight);
    });

    const restarts = [];
    const accounts = [];
    for (let cycle = 0; cycle < CYCLES; cycle += 1) {
      await sleep(150 + ((cycle * 397) % 900));
      const newcomer = await person(server, 'newcomer');
      const rotated = await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: newcomer.refreshToken }, { 'x-client-id': 'n' });
      accounts.push([newcomer, rotated.body.refreshToken]);
      await server.kill();
      if (cycle % 3 === 2) await sleep(400);
      const begun = Date.now();
      await server.start();
      restarts.push(Date.now() - begun);
      if (cycle % 4 === 3) {
        // A crash right after a start, while everybody is coming back.
        await sleep(30);
        await server.kill();
        await server.start();
      }
      await Promise.all(devices.map((one) => one.socket.connected || sleep(1)));
    }
    on = false;
    await Promise.all(traffic);
    await Promise.all(devices.map((one) => one.settled()));

    const heads = new Map();
    for (const id of [pair, crew, trio]) heads.set(id, (await wholeHistory(bob, id)).length);
    await Promise.all(devices.map((one) => one.caughtUp(heads)));
    const final = await truth(history, [pair, crew, trio], bob);
    devices.forEach((one) => one.close());

    const acked = devices.flatMap((one) => one.acked);
    t.diagnostic(`${acked.length} acknowledged sends, ${devices.reduce((sum, one) => sum + one.connections, 0)} connections, restarts ${Math.min(...restarts)}-${Math.max(...restarts)} ms, refusals ${JSON.stringify(devices.flatMap((one) => one.refusals))}`);
    assert.deepEqual(devices.flatMap((one) => one.faults), []);
    assert.ok(acked.length > CYCLES * 10, 'there was traffic');
    checkTruth(final, acked, devices);
    for (const [newcomer, refreshToken] of accounts) {
      assert.equal((await new Rest(server.baseUrl).post('/api/auth/login', { email: newcomer.email, password: newcomer.password })).status, 200, 'an acknowledged registration is there');
      assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken }, { 'x-client-id': 'n' })).status, 200, 'a rotated token works');
    }
    await verdict(t, history, 'crash');
    await server.stop();
  });

  test('M1 M2 sends over REST whose answer was lost in a crash are stored once', { timeout: 90_000 }, async () => {
    const server = await start();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const acked = new Map();
    const send = async (n) => {
      const key = `rest-${n}`;
      for (const end = Date.now() + 20_000; Date.now() < end; await sleep(30)) {
        const answer = await ann.rest.post(`/api/chats/conversations/${talk.id}/messages`, { content: `m${n}`, type: 'text', clientId: key }).catch(() => null);
        if (answer && [200, 201].includes(answer.status)) { acked.set(key, answer.body.message); return; }
        if (answer && answer.status !== 503) assert.fail(answer.text);
      }
      assert.fail(`${key} was never answered`);
    };
    for (let round = 0; round < 3; round += 1) {
      const sending = Promise.all(Array.from({ length: 60 }, async (_, n) => { await sleep(n * 3); await send(round * 60 + n); }));
      await sleep(60 + round * 40);
      await server.kill();
      await server.start();
      await sending;
    }
    const rows = await wholeHistory(bob, talk.id);
    assert.equal(rows.length, 180);
    assert.deepEqual(rows.map(({ seq }) => seq), Array.from({ length: 180 }, (_, n) => n + 1));
    for (const [key, message] of acked) assert.deepEqual(rows.filter(({ client_id }) => client_id === key).map(({ id, seq }) => [id, seq]), [[message.id, message.seq]]);
    await server.stop();
  });

  test('M2 a key outlives the life that took it, however old its message', { timeout: 60_000 }, async () => {
    const server = await start();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const send = (n, content = `m${n}`) => ann.rest.post(`/api/chats/conversations/${talk.id}/messages`, { content, type: 'text', clientId: `key-${n}` });
    const firsts = [];
    for (let n = 0; n < 300; n += 1) firsts.push((await send(n)).body);
    await server.kill();
    await server.start();
    for (const n of [0, 63, 64, 150, 255, 256, 299]) {
      const again = await send(n);
      assert.deepEqual([again.status, again.body], [200, firsts[n]]);
      assert.equal((await send(n, 'other words')).status, 409);
    }
    assert.equal((await send(300)).body.message.seq, 301);
    await server.stop();
  });

  test('M7 an acknowledged read mark survives', { timeout: 60_000 }, async () => {
    const server = await start();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const a = await ann.connect({ transports: ['websocket'] });
    for (let n = 0; n < 5; n += 1) await a.ok('chat:message', { conversationId: talk.id, content: `m${n}`, type: 'text' });
    const b = await bob.connect({ transports: ['websocket'] });
    await b.ok('chat:markRead', { conversationId: talk.id, upTo: 4 });
    await server.kill();
    await server.start();
    const again = await bob.connect({ transports: ['websocket'] });
    assert.equal((await again.ok('chat:join', talk.id)).readSeq, 4);
    again.close();
    await server.stop();
  });

  test('a logout that was answered holds after a crash', { timeout: 60_000 }, async () => {
    const server = await start();
    const ann = await person(server, 'ann');
    assert.equal((await ann.rest.post('/api/auth/logout', {})).status, 204);
    await server.kill();
    await server.start();
    assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: ann.refreshToken })).status, 401);
    assert.equal((await ann.rest.get('/api/auth/me')).status, 401);
    await server.stop();
  });
});
