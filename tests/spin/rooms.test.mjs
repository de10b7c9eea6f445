// Spin with a room host: chat over polling through Spin, sockets at the room host, and who may speak to the room host.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { start, startSpin } from '../support/hosts/spin.mjs';
import { direct, people, send, unique } from '../support/people.mjs';
import { poll, Polling } from '../support/raw.mjs';
import { Rest } from '../support/rest.mjs';
import { freshSecret, relaxed, startServer } from '../support/server.mjs';
import { isError } from '../support/shapes.mjs';
import { connectClient } from '../support/sockets.mjs';

const ORIGIN = 'https://chat.allowed.example';
const secrets = { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() };
let host;
before(async () => { host = await start({ env: { ...secrets, ALLOWED_ORIGINS: ORIGIN } }); });
after(() => host?.stop());

/** A request as only the holder of `key` can make it. */
function signed(key, path, body = '', { method = 'POST', at = Date.now(), sent = path, url = host.rooms.baseUrl } = {}) {
  const tag = createHmac('sha256', key).update(`${method}\n${path}\n${at}\n`).update(body).digest('hex');
  return new Rest(url).request('POST', sent, body, { 'x-chatcall-time': String(at), 'x-chatcall-signature': tag });
}

const statement = (sql, ...values) => ({ sql, params: values.map((value) => ({ type: 'text', value })) });
const batch = (...statements) => JSON.stringify({ statements });

describe('chat', () => {
  for (const [name, options] of [['polling only', { transports: ['polling'] }], ['as it comes', {}]]) {
    test(`two stock clients through Spin, ${name}`, async () => {
      const [ann, bob] = await people(host, 'ann', 'bob');
      const talk = await direct(ann, bob);
      const [a, b] = [await ann.connect(options), await bob.connect(options)];
      const { message } = await a.ok('chat:message', { conversationId: talk.id, content: 'hello', type: 'text', clientId: 'one' });
      assert.equal((await b.next('chat:message')).id, message.id);
      await b.ok('chat:markRead', { conversationId: talk.id, upTo: 1 });
      await a.next('chat:read', (event) => event.userId === bob.id);
      assert.equal((await send(bob, talk.id, 'by REST')).seq, 2);
      await a.next('chat:message', (event) => event.content === 'by REST');
      assert.equal(a.transport, 'polling');
      [ann, bob].forEach((who) => who.close());
    });
  }

  test('one through Spin, the other by WebSocket where socketUrl says', async () => {
    const [ann, bob] = await people(host, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const { socketUrl } = (await ann.rest.get('/api/info')).body;
    assert.equal(socketUrl, host.rooms.baseUrl);
    const a = await ann.connect({ transports: ['polling'] });
    const b = await connectClient(socketUrl, { auth: { token: bob.token }, transports: ['websocket'] });
    await a.ok('chat:message', { conversationId: talk.id, content: 'over', type: 'text' });
    await b.next('chat:message', (event) => event.content === 'over');
    await b.ok('chat:message', { conversationId: talk.id, content: 'and back', type: 'text' });
    await a.next('chat:message', (event) => event.content === 'and back');
    b.close();
    ann.close();
  });

  test('ending a session at Spin closes its socket at the room host', async () => {
    const [ann] = await people(host, 'ann');
    const socket = await connectClient(host.rooms.baseUrl, { auth: { token: ann.token }, transports: ['websocket'] });
    assert.equal((await ann.rest.post('/api/auth/logout', {})).status, 204);
    await socket.next('auth:revoked', () => true, { ms: 5_000 });
    await socket.next('$disconnect');
  });
});

describe('Engine.IO at Spin', () => {
  test('upgrades is empty, at the room host it is not', async () => {
    assert.deepEqual((await Polling.open(host.baseUrl)).opened.upgrades, []);
    assert.deepEqual((await Polling.open(host.rooms.baseUrl)).opened.upgrades, ['websocket']);
  });

  test('websocket is 400, code 0, with and without an upgrade', async () => {
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
    for (const headers of [{}, upgrade]) {
      const answer = await poll(host.baseUrl, '/socket.io/', { query: { transport: 'websocket' }, headers });
      assert.equal(answer.status, 400);
      assert.deepEqual(answer.json, { code: 0, message: 'Transport unknown' });
    }
  });

  test('refusals and headers are those of the gateway', async () => {
    const unknown = await poll(host.baseUrl, '/socket.io/', { query: { sid: '0.nobody' }, headers: { origin: ORIGIN } });
    assert.deepEqual([unknown.status, unknown.json.code], [400, 1]);
    assert.equal(unknown.headers['access-control-allow-origin'], ORIGIN);
    assert.ok(unknown.headers['content-length'] > 0);
    assert.ok(!Object.keys(unknown.headers).some((name) => name.startsWith('x-chatcall')));
    const preflight = await poll(host.baseUrl, '/socket.io/', { method: 'OPTIONS', headers: { origin: ORIGIN, 'access-control-request-method': 'POST' } });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers['access-control-allow-origin'], ORIGIN);
    assert.equal((await poll(host.baseUrl, '/socket.io/', { query: { EIO: '3' } })).json.code, 5);
    const session = await Polling.open(host.baseUrl);
    assert.equal((await session.post('4'.repeat(70_000))).status, 413);
    assert.equal((await poll(host.baseUrl, '/socket.io/', { method: 'PUT', query: { sid: session.sid }, body: 'x' })).status, 400);
  });

  test('a GET is held until there is something: the ping after 20 s', async () => {
    const [ann] = await people(host, 'ann');
    const begin = Date.now();
    const session = await Polling.open(host.baseUrl);
    await session.posted(`40${JSON.stringify({ token: ann.token })}`);
    assert.match((await session.packets())[0], /^40/);
    assert.deepEqual(await session.packets(), ['2']);
    assert.ok(Date.now() - begin > 15_000, `${Date.now() - begin} ms`);
    await session.posted('3');
  });

  test('the address that counts is the client\'s, not Spin\'s word of a client', async () => {
    const limited = await start({ env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret(), RATE_LIMITS: 'on' } });
    try {
      const statuses = [];
      for (let n = 0; n < 7; n += 1) {
        const name = unique('reg');
        const fields = { username: name, email: `${name}@test.invalid`, password: 'plain words in a row' };
        statuses.push((await new Rest(limited.baseUrl).post('/api/auth/register', fields, { 'spin-client-addr': `192.0.2.${n}:1`, 'x-chatcall-address': `192.0.2.${n}` })).status);
      }
      assert.deepEqual(statuses, [201, 201, 201, 201, 201, 429, 429]);
    } finally {
      await limited.stop();
    }
  });
});

describe('strangers at the room host', () => {
  const path = '/internal/people/read';
  const read = batch(statement('SELECT 1'));
  const refused = (answer) => {
    isError(answer, 401, 'UNAUTHORIZED');
    assert.match(answer.body.error, /ROOM_HOST_KEY/);
    assert.doesNotMatch(answer.text, /rows/);
  };

  test('the right signature is taken', async () => {
    const answer = await signed(host.key, path, read);
    assert.deepEqual([answer.status, answer.body], [200, { rows: [[[{ type: 'integer', value: 1 }]]] }]);
    assert.equal((await signed(host.key, '/internal/ping')).status, 200);
  });

  for (const [name, ask] of [
    ['unsigned', () => new Rest(host.rooms.baseUrl).post(path, read)],
    ['unsigned, with GET', () => new Rest(host.rooms.baseUrl).get(path)],
    ['another key', () => signed(freshSecret(), path, read)],
    ['an empty key', () => signed('', path, read)],
    ['an old signature', () => signed(host.key, path, read, { at: Date.now() - 31_000 })],
    ['a signature of tomorrow', () => signed(host.key, path, read, { at: Date.now() + 31_000 })],
    ['a time that is none', () => signed(host.key, path, read, { at: 'now' })],
    ['the signature of another path', () => signed(host.key, '/internal/people/batch', read, { sent: path })],
    ['the signature of another method', () => signed(host.key, path, read, { method: 'GET' })],
    ['a query behind the signed path', () => signed(host.key, path, read, { sent: `${path}?x=1` })],
    ['any path below', () => new Rest(host.rooms.baseUrl).post('/internal/nothing', '')],
  ]) {
    test(`${name}: 401 that names ROOM_HOST_KEY`, async () => refused(await ask()));
  }

  test('the signature of another body', async () => {
    const at = Date.now();
    const tag = createHmac('sha256', host.key).update(`POST\n${path}\n${at}\n`).update(read).digest('hex');
    refused(await new Rest(host.rooms.baseUrl).request('POST', path, `${read} `, { 'x-chatcall-time': String(at), 'x-chatcall-signature': tag }));
  });

  test('all of it is one line in the log', () => {
    const lines = host.rooms.output().split('\n').filter((line) => line.includes('an internal request was refused'));
    assert.ok(lines.length >= 1 && lines.length <= 3, lines.join('\n'));
    assert.ok(!host.output().includes(host.key));
  });

  test('even the key opens no other object, and no write by the way of reads', async () => {
    for (const object of ['http/1', 'gateway/gw-0', 'directory/x', 'call/x', 'room', 'room/', 'room/a/b']) {
      isError(await signed(host.key, `/internal/objects/${object}`, '{}'), 404, 'NOT_FOUND');
    }
    const write = await signed(host.key, path, batch(statement("INSERT INTO direct_pairs VALUES ('a', 'b', 'c', 'd', 1)")));
    assert.deepEqual([write.status, write.body], [503, { error: 'unavailable' }]);
    isError(await signed(host.key, path, 'x'.repeat(1_100_000)), 413, 'PAYLOAD_TOO_LARGE');
    assert.equal((await signed(host.key, '/internal/polling', 'no line')).status, 400);
  });

  test('through Spin nothing of it is reachable', async () => {
    for (const way of ['/internal/ping', path, '/internal/objects/user/x']) {
      const answer = await signed(host.key, way, read, { url: host.baseUrl });
      assert.ok([404, 405].includes(answer.status), `${way} ${answer.status}`);
    }
  });

  test('a room host serves its status and sockets, and no REST', async () => {
    const rest = new Rest(host.rooms.baseUrl);
    assert.equal((await rest.get('/api/health')).body.status, 'ok');
    for (const way of ['/', '/api/auth/me', '/api/chats/conversations']) assert.equal((await fetch(host.rooms.baseUrl + way)).status, 404);
  });

  test('without a key a host takes nothing and says so; with one the whole product takes it too', async () => {
    const [none, whole] = await Promise.all([startServer(), startServer({ env: { ROOM_HOST_KEY: host.key } })]);
    const answer = await signed(host.key, path, read, { url: none.baseUrl });
    isError(answer, 503, 'NODE_UNAVAILABLE');
    assert.match(answer.body.error, /ROOM_HOST_KEY/);
    assert.equal((await signed(host.key, path, read, { url: whole.baseUrl })).status, 200);
    isError(await new Rest(whole.baseUrl).post(path, read), 401, 'UNAUTHORIZED');
    await Promise.all([none.stop(), whole.stop()]);
  });
});

describe('keys that differ', () => {
  const variables = { chatcall_env: 'development', bcrypt_cost: '4', jwt_secret: secrets.JWT_SECRET, jwt_refresh_secret: secrets.JWT_REFRESH_SECRET };

  test('Spin says which setting, and health that the room host refuses', async () => {
    const spin = await startSpin({ ...variables, room_host_url: host.rooms.baseUrl, room_host_key: freshSecret() });
    const rest = new Rest(spin.baseUrl);
    const answer = await rest.post('/api/auth/login', { email: 'a@test.invalid', password: 'not the password' });
    isError(answer, 503, 'NODE_UNAVAILABLE');
    assert.match(answer.body.error, /room_host_key/);
    assert.deepEqual((await rest.get('/api/health')).body, { status: 'degraded', reason: 'room_host_refused' });
    assert.match((await poll(spin.baseUrl, '/socket.io/')).text, /room_host_key/);
    await spin.stop();
  });

  test('a host without a key is named too', async () => {
    const bare = await startServer({ env: relaxed, args: ['--roles', 'rooms'] });
    const spin = await startSpin({ ...variables, room_host_url: bare.baseUrl, room_host_key: host.key });
    assert.match((await new Rest(spin.baseUrl).post('/api/auth/login', { email: 'a@test.invalid', password: 'x y z x y z' })).body.error, /ROOM_HOST_KEY/);
    await Promise.all([spin.stop(), bare.stop()]);
  });
});

describe('one database file for both', () => {
  test('people_database=sqlite reads and writes what the room host has', async () => {
    const key = freshSecret();
    const rooms = await startServer({ env: { ...secrets, ROOM_HOST_KEY: key, LIBSQL_URL: 'file:default.db' }, args: ['--roles', 'rooms'] });
    const spin = await startSpin({
      chatcall_env: 'development', bcrypt_cost: '4', rate_limits: 'off', jwt_secret: secrets.JWT_SECRET, jwt_refresh_secret: secrets.JWT_REFRESH_SECRET,
      room_host_url: rooms.baseUrl, room_host_key: key, people_database: 'sqlite', socket_url: 'https://sockets.example',
    }, { data: rooms.data });
    const [ann, bob] = await people({ baseUrl: spin.baseUrl }, 'ann', 'bob');
    const talk = await direct(ann, bob);
    await send(ann, talk.id, 'shared');
    for (const end = Date.now() + 4_000; ; await sleep(50)) {
      const [listed] = (await bob.rest.get('/api/chats/conversations')).body;
      if (listed?.lastMessage?.content === 'shared') break;
      assert.ok(Date.now() < end, 'the projection of the room host is not seen');
    }
    assert.equal((await ann.rest.get('/api/info')).body.socketUrl, 'https://sockets.example');
    await spin.stop();
    assert.equal((await rooms.stop()).code, 0);
  });
});
