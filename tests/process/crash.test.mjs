// kill -9 of the server in the middle of traffic, again and again: nothing acknowledged is lost, nothing is doubled, and
// every device has every message once. M1-M6. CRASH_CYCLES sets how often (12), HISTORY_DIR keeps the log.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people, person, wholeHistory } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { startServer } from '../support/server.mjs';
import { Traffic } from '../support/traffic.mjs';

const CYCLES = Number(process.env.CRASH_CYCLES ?? 12);
const servers = [];
after(() => Promise.all(servers.map((server) => server.kill())));

const start = async (options) => {
  const server = await startServer(options);
  servers.push(server);
  return server;
};

describe('kill -9', () => {
  test(`M1-M6 ${CYCLES} crashes under traffic: losses 0, duplicates 0`, { timeout: 240_000 + CYCLES * 15_000 }, async (t) => {
    const server = await start();
    const traffic = await Traffic.start(server, { upgrade: true });
    const accounts = [];
    const before = async () => {
      const newcomer = await person(server, 'newcomer');
      const rotated = await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: newcomer.refreshToken }, { 'x-client-id': 'n' });
      accounts.push([newcomer, rotated.body.refreshToken]);
    };
    const after = () => Promise.all(traffic.devices.map((one) => one.socket.connected || sleep(1)));
    traffic.go({ pause: 30 });
    const restarts = await traffic.crashes(CYCLES, { before, after });
    await traffic.stop(60_000);
    const acked = await traffic.check(t, 'crash');
    t.diagnostic(`restarts ${Math.min(...restarts)}-${Math.max(...restarts)} ms`);
    assert.ok(acked > CYCLES * 10, 'there was traffic');
    for (const [newcomer, refreshToken] of accounts) {
      assert.equal((await new Rest(server.baseUrl).post('/api/auth/login', { email: newcomer.email, password: newcomer.password })).status, 200, 'an acknowledged registration is there');
      assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken }, { 'x-client-id': 'n' })).status, 200, 'a rotated token works');
    }
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
