// Storage that does not answer, or has no room left: what needs it says so, the rest goes on, and it comes back by itself.
// F4, F8, guarantees 4 rule 4, M1-M6.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deployment } from '../../edge/cloudflare/local/config.mjs';
import { atEnd } from '../support/cleanup.mjs';
import { start } from '../support/hosts/workerd.mjs';
import { clientId, direct, group, listed, people, wholeHistory } from '../support/people.mjs';
import { freshDirectory } from '../support/process.mjs';
import { Rest } from '../support/rest.mjs';
import { freshSecret } from '../support/server.mjs';

const secrets = () => ({ JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() });
const text = (conversationId, content, more = {}) => ({ conversationId, content, type: 'text', clientId: clientId(), ...more });
const websocket = { transports: ['websocket'], reconnection: true, reconnectionDelay: 100 };
const span = (count) => Array.from({ length: count }, (_, n) => n + 1);
const health = (server) => new Rest(server.baseUrl).get('/api/health');
const timed = async (promise) => {
  const begun = Date.now();
  return [await promise, Date.now() - begun];
};

/** What takes the people database away, and gives it back. */
const OUTAGES = {
  'refuses connections': {
    async begin({ edge }) {
      edge.sqld.child.kill('SIGKILL');
      await edge.sqld.exited;
    },
    end: ({ edge }) => edge.people(),
  },
  'takes connections and says nothing': {
    begin: async ({ edge }) => { edge.sqld.child.kill('SIGSTOP'); },
    end: async ({ edge }) => { edge.sqld.child.kill('SIGCONT'); },
  },
};

describe('the people database', { concurrency: true }, () => {
  for (const [name, outage] of Object.entries(OUTAGES)) {
    test(`F8 ${name}: live chat goes on, accounts and lists are 503 at once, everything catches up`, { timeout: 180_000 }, async (t) => {
      const server = await start({ env: secrets() });
      const [ann, bob] = await people(server, 'ann', 'bob');
      const [pair, crew] = [await direct(ann, bob), await group(ann, [bob])];
      const [a, b] = await Promise.all([ann.connect(websocket), bob.connect(websocket)]);
      await b.resume({ [pair.id]: 0, [crew.id]: 0 });
      for (const { id } of [pair, crew]) await a.ok('chat:message', text(id, 'before'));
      await listed(bob, crew.id, 1);
      await outage.begin(server);
      try {
        let slowest = 0;
        for (let n = 0; n < 10; n += 1) {
          const [, ms] = await timed(Promise.all([pair, crew].flatMap(({ id }) => [a.ok('chat:message', text(id, `a ${n}`)), b.ok('chat:message', text(id, `b ${n}`))])));
          slowest = Math.max(slowest, ms);
          await sleep(100);
        }
        for (const client of [a, b]) {
          for (const { id } of [pair, crew]) {
            await client.count('chat:message', 21, ({ conversationId }) => conversationId === id);
            assert.deepEqual(client.seqs(id), span(21));
          }
        }
        assert.ok(slowest < 5_000, `a send took ${slowest} ms`);
        await a.ok('chat:markRead', { conversationId: pair.id, upTo: 21 });
        await b.next('chat:read', ({ upTo }) => upTo === 21);
        const login = { email: ann.email, password: ann.password };
        const asked = await Promise.all([
          timed(ann.rest.get('/api/chats/conversations')), timed(new Rest(server.baseUrl).post('/api/auth/login', login)),
          timed(new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: ann.refreshToken })), timed(health(server)),
        ]);
        t.diagnostic(`the slowest send ${slowest} ms; ${asked.map(([answer, ms]) => `${answer.status} after ${ms} ms`).join(', ')}`);
        for (const [answer, ms] of asked) {
          assert.equal(answer.status, 503, answer.text);
          assert.ok(ms < 4_000, `503 after ${ms} ms`);
        }
        for (const [answer] of asked.slice(0, 3)) assert.ok(Number(answer.headers.get('retry-after')) >= 1, `retry-after of ${answer.text}`);
        assert.equal(asked[3][0].body.status, 'degraded');
        // A lost connection is back without it: the token says who it is. What it missed has to wait for the list.
        b.cut();
        await b.count('$connect', 2);
        await b.refused('NODE_UNAVAILABLE', 'sync:resume', { cursors: { [pair.id]: 21, [crew.id]: 21 } });
        await a.ok('chat:message', text(pair.id, 'you are back'));
        await b.next('chat:message', ({ content }) => content === 'you are back');
      } finally {
        await outage.end(server);
      }
      for (const end = Date.now() + 10_000; (await ann.rest.get('/api/chats/conversations')).status !== 200; await sleep(100)) assert.ok(Date.now() < end, 'still 503');
      await b.resume({ [pair.id]: 21, [crew.id]: 21 });
      for (const { id } of [pair, crew]) {
        const { message } = await a.ok('chat:message', text(id, 'after'));
        const [found, ms] = await timed(listed(bob, id, message.seq, 20_000));
        assert.equal(found.lastMessage.content, 'after');
        t.diagnostic(`the list knew the newest message after ${ms} ms`);
        assert.deepEqual((await wholeHistory(bob, id)).map(({ seq }) => seq), span(message.seq));
      }
      assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: ann.refreshToken })).status, 200);
      assert.equal(a.connects, 1);
      [ann, bob].forEach((one) => one.close());
      await server.stop();
    });
  }
});

/** A small file system in memory; `undefined` where this process may not mount. */
function smallFileSystem(path, megabytes) {
  mkdirSync(path, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  const end = () => {
    try {
      execFileSync('umount', ['-l', path], { stdio: 'ignore' });
    } catch { /* It is gone already. */ }
  };
  process.on('exit', end);
  atEnd(end);
  return end;
}

/** Writes until nothing is left; answers what gives it back. */
function fill(path) {
  const file = join(path, 'filler');
  writeFileSync(file, '');
  for (let size = 1 << 20; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) appendFileSync(file, Buffer.alloc(size));
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    }
  }
  return () => rmSync(file);
}

test('F4 Rooms without space: sends fail with MESSAGE_SEND_FAILED and nobody sees them; all is well when there is space again, without a restart', { timeout: 120_000 }, async (t) => {
  const data = freshDirectory();
  // Each object has storage of its own; here all Rooms share what is left.
  const objects = join(data, 'objects', `${deployment().name}-Room`);
  if (!smallFileSystem(objects, 24)) return t.skip('a small file system takes the right to mount');
  const server = await start({ data, env: secrets() });
  const [ann, bob] = await people(server, 'ann', 'bob');
  const [pair, crew] = [await direct(ann, bob), await group(ann, [bob])];
  const [a, b] = await Promise.all([ann.connect(websocket), bob.connect(websocket)]);
  await b.resume({ [pair.id]: 0, [crew.id]: 0 });
  const acked = new Map([[pair.id, []], [crew.id, []]]);
  const unknown = [];
  const codes = {};
  const send = async (id, content, more) => {
    const message = text(id, content, more);
    const ack = await a.call('chat:message', message).catch((error) => ({ error: { code: String(error) } }));
    if (ack.ok) acked.get(id).push(ack.message);
    else {
      codes[ack.error.code] = (codes[ack.error.code] ?? 0) + 1;
      unknown.push([id, message]);
    }
    return ack;
  };
  for (let n = 0; n < 5; n += 1) for (const { id } of [pair, crew]) assert.ok((await send(id, `before ${n}`)).ok);

  for (let round = 0; round < 2; round += 1) {
    const empty = fill(objects);
    let refused = 0;
    // A log that has room in its file takes some more.
    for (let n = 0; n < 400 && refused < 20; n += 1) {
      const id = [pair, crew][n % 2].id;
      const ack = await send(id, `full ${round} ${n} ${'x'.repeat(1_500)}`, { metadata: { pad: 'y'.repeat(6_000) } });
      if (!ack.ok) refused += 1;
    }
    assert.ok(refused >= 20, `${refused} sends were refused: the disk was never full`);
    // The runtime drops an object whose commit failed, with all its answers: what has to ask it is told to come back, soon.
    for (const { id } of [pair, crew]) {
      const [answer, ms] = await timed(bob.rest.get(`/api/chats/conversations/${id}/messages`));
      if (answer.status === 200) assert.deepEqual(answer.body.map(({ seq }) => seq), acked.get(id).map(({ seq }) => seq));
      else assert.deepEqual([answer.status, answer.body.code], [503, 'NODE_UNAVAILABLE'], answer.text);
      assert.ok(ms < 5_000, `${ms} ms`);
    }
    // What is elsewhere is read as ever, and new connections come in.
    assert.equal((await bob.rest.get('/api/chats/conversations')).status, 200);
    (await bob.connect(websocket)).close();
    for (const { id } of [pair, crew]) {
      const known = acked.get(id).map(({ seq }) => seq);
      await b.count('chat:message', known.length, ({ conversationId }) => conversationId === id);
      assert.deepEqual(b.seqs(id), known, 'nobody sees what was refused');
    }
    empty();
    // Without a restart, and in the first try or the next ones.
    for (const { id } of [pair, crew]) {
      for (const end = Date.now() + 10_000; !(await send(id, `room again ${round}`)).ok; await sleep(200)) assert.ok(Date.now() < end, `still refused: ${JSON.stringify(codes)}`);
    }
  }
  t.diagnostic(`refusals: ${JSON.stringify(codes)}`);
  assert.deepEqual(Object.keys(codes), ['MESSAGE_SEND_FAILED']);
  // Each refused send is repeated with its key and is there once.
  for (const [id, message] of unknown) acked.get(id).push((await a.ok('chat:message', message)).message);
  for (const { id } of [pair, crew]) {
    const rows = await wholeHistory(bob, id);
    assert.deepEqual(rows.map(({ seq }) => seq), span(rows.length));
    assert.deepEqual(acked.get(id).map(({ seq }) => seq).sort((x, y) => x - y), span(rows.length));
    await b.count('chat:message', rows.length, ({ conversationId }) => conversationId === id);
    assert.deepEqual(b.seqs(id), span(rows.length));
  }
  assert.deepEqual([a.connects, b.connects], [1, 1]);
  [ann, bob].forEach((one) => one.close());
  await server.stop();
});
