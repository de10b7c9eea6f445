// Who may connect, and what happens to a connection when its token ends. E-001, E-048, E-049, E-050, E-057, E-059, S1, N29, N55.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, direct, forged, people, person } from '../support/people.mjs';
import { openSocket } from '../support/raw.mjs';
import { BURST, Client, connectClient, refusedConnect, straight, TRANSPORTS } from '../support/sockets.mjs';
import { has, needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const now = () => Math.floor(Date.now() / 1000);
const refused = async (auth, code, options = {}) => {
  const error = await refusedConnect(server.baseUrl, { auth, ...straight, ...options });
  assert.equal(error.message, 'Authentication failed');
  assert.equal(error.data?.code, code);
};

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(`E-001 ${name}`, needs(...(name === 'websocket only' ? ['websocket'] : ['polling'])), () => {
    test('E-001 a token connects', async () => {
      const ann = await person(server, 'ann');
      const client = await ann.connect(transports);
      assert.ok(client.socket.id);
      if (name === 'polling first' && has('upgrade')) await client.upgraded();
      client.close();
    });

    test('E-001 a token that cannot be verified is a connect_error with its code', async () => {
      await refused({ token: 'rubbish' }, 'UNAUTHORIZED', transports);
    });

    test('E-001 the client does not come back by itself after a refusal, and may with a better token', async () => {
      const ann = await person(server, 'ann');
      const client = new Client(server.baseUrl, { ...transports, auth: (give) => give({ token: client.token ?? 'rubbish' }) });
      await assert.rejects(client.opened());
      client.token = ann.token;
      client.socket.connect();
      await client.next('$connect');
      client.close();
    });

    test('E-057 hb is echoed as exactly that', async () => {
      const ann = await person(server, 'ann');
      const client = await ann.connect(transports);
      client.emit('hb');
      await client.next('hb');
      assert.deepEqual(client.events.find((event) => event.name === 'hb').args, []);
      client.close();
    });
  });
}

describe('E-001 refusals', () => {
  test('an explicit chatcall without token: AUTH_REQUIRED', async () => {
    await refused({ dialect: 'chatcall' }, 'AUTH_REQUIRED');
  });

  for (const [name, token] of [['an empty token', ''], ['a number', 12], ['null', null], ['an object', { $ne: 1 }], ['an array', ['x']], ['2 KB of rubbish', 'x'.repeat(2_000)]]) {
    test(`${name} with an explicit chatcall is refused`, async () => {
      const error = await refusedConnect(server.baseUrl, { auth: { dialect: 'chatcall', token }, ...straight });
      assert.ok(['UNAUTHORIZED', 'AUTH_REQUIRED'].includes(error.data?.code), `${error.data?.code}`);
    });
  }

  test('a refresh token is no access token', async () => {
    const ann = await person(server, 'ann');
    await refused({ token: ann.refreshToken }, 'UNAUTHORIZED');
  });

  test('1.2 a token in the query is none', async () => {
    const ann = await person(server, 'ann');
    await refused({ dialect: 'chatcall' }, 'AUTH_REQUIRED', { query: { token: ann.token, access_token: ann.token } });
  });

  test('the dialect may be named in auth or in the query', async () => {
    const ann = await person(server, 'ann');
    (await ann.connect({ auth: { token: ann.token, dialect: 'chatcall' } })).close();
    (await ann.connect({ query: { dialect: 'chatcall' } })).close();
    await refused({}, 'AUTH_REQUIRED', { query: { dialect: 'chatcall' } });
  });

  test('connection state recovery fields beside the token do no harm', async () => {
    const ann = await person(server, 'ann');
    (await ann.connect({ auth: { token: ann.token, pid: 'x', offset: 'y', more: [1] } })).close();
  });

  test('1.3.5 without token and dialect: connected, everything answers AUTH_REQUIRED, closed after 5 s', async () => {
    const client = await connectClient(server.baseUrl, straight);
    const start = Date.now();
    await client.refused('AUTH_REQUIRED', 'chat:message', { conversationId: 'x', content: 'x', type: 'text' });
    await client.refused('AUTH_REQUIRED', 'sync:resume', { cursors: {} });
    await client.next('$disconnect', () => true, { ms: 8_000 });
    assert.ok(Date.now() - start < 7_000);
  });

  test('expired: TOKEN_EXPIRED', needs('secret'), async () => {
    const ann = await person(server, 'ann');
    await refused({ token: forged(server, ann.token, { iat: now() - 1_000, exp: now() - 62 }) }, 'TOKEN_EXPIRED');
  });

  test('a wrong signature, issuer, audience, type or algorithm: UNAUTHORIZED', needs('secret'), async () => {
    const ann = await person(server, 'ann');
    for (const token of [`${ann.token.slice(0, -6)}AAAAAA`, forged(server, ann.token, { iss: 'x' }), forged(server, ann.token, { aud: 'x' }), forged(server, ann.token, {}, { typ: 'JWT' }), forged(server, ann.token, {}, { alg: 'none' })]) {
      await refused({ token }, 'UNAUTHORIZED');
    }
  });

  test('1.2 the server never asks for an acknowledgement: frames read 42["name",...]', needs('websocket', 'objects'), async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const raw = await openSocket(server.baseUrl);
    raw.send(`40${JSON.stringify({ token: bob.token })}`);
    assert.match(await raw.next(), /^40\{"sid":"[^"]+"/);
    raw.send('420["sync:resume",{"cursors":{}}]');
    await raw.until((packet) => packet.startsWith('430'));
    const client = await ann.connect();
    await client.ok('chat:message', { conversationId: talk.id, content: 'raw', type: 'text' });
    const packet = await raw.until((text) => text.includes('chat:message'));
    assert.ok(packet.startsWith('42["chat:message",{'), packet.slice(0, 60));
    raw.close();
    client.close();
  });
});

describe('E-059 errors without a callback', needs('objects'), () => {
  for (const [event, payload, code] of [
    ['chat:message', { conversationId: '0195f09e-6c3e-7b1a-9d52-0d6f0a1b2c3d', content: 'x', type: 'text' }, 'PERMISSION_DENIED'],
    ['chat:message', null, 'INVALID_DATA'], ['chat:join', { a: 1 }, 'INVALID_DATA'], ['chat:typing', null, 'INVALID_DATA'], ['sync:resume', 'x', 'INVALID_DATA'],
  ]) {
    test(`${event} ${JSON.stringify(payload)?.slice(0, 20)}: error names code and event`, async () => {
      const ann = await person(server, 'ann');
      const client = await ann.connect(straight);
      client.emit(event, payload);
      const error = await client.next('error');
      assert.equal(error.code, code);
      assert.equal(error.event, event);
      assert.equal(typeof error.message, 'string');
      assert.ok(Object.keys(error).every((key) => ['code', 'message', 'event', 'retryAfter', 'field'].includes(key)), JSON.stringify(error));
      client.close();
    });
  }

  test('N29 nonsense as payload of every event: an answer, and the connection and the process live', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const watcher = await bob.connect(straight);
    const events = ['chat:join', 'chat:leave', 'chat:message', 'chat:typing', 'chat:stopTyping', 'chat:markRead', 'chat:delivered', 'chat:edit', 'chat:delete', 'chat:react', 'presence:getOnline', 'presence:set', 'sync:resume', 'auth:renew', 'hb', 'no:such:event'];
    const id = talk.id;
    const payloads = [undefined, null, true, 0, -1, 1.5, 1e300, '', 'x', id, [], [id], {}, { conversationId: null }, { conversationId: 7 }, { conversationId: { $ne: 1 } }, { conversationId: [id] }, { conversationId: '../x' },
      { conversationId: id, content: {}, type: [] }, { conversationId: id, upTo: -1 }, { conversationId: id, upTo: 1e300 }, { conversationId: id, upTo: '1' }, { conversationId: id, messageIds: 'x' }, { conversationId: id, messageIds: [null, 1, {}] },
      { cursors: [] }, { cursors: { [id]: -1 } }, { cursors: { [id]: 1.5 } }, { cursors: { [id]: '1' } }, { cursors: { nonsense: 1 } }, { cursors: {}, generations: 7 }, { cursors: { [id]: 1e300 } }, { token: 5 }, { __proto__: null, constructor: 1 },
      { conversationId: id, messageId: 'x' }, { conversationId: id, messageId: 7, content: 'x', emoji: 'x', on: true }, { conversationId: id, messageId: "1' OR '1'='1", content: 'x' }, { conversationId: id, messageId: { $gt: '' }, emoji: {}, on: 'yes' },
      { state: 'gone' }, { state: ['away'] }, { state: 'dnd', text: 7 }];
    const client = await ann.connect(straight);
    const step = Math.floor(BURST / 3);
    for (const event of events) {
      for (let at = 0; at < payloads.length; at += step) await Promise.all(payloads.slice(at, at + step).map(async (payload) => {
        const acked = await client.socket.timeout(5_000).emitWithAck(event, ...(payload === undefined ? [] : [payload])).catch(() => 'no ack');
        if (['hb', 'no:such:event'].includes(event)) return;
        assert.notEqual(acked, 'no ack', `${event} ${JSON.stringify(payload)}`);
        client.emit(event, payload, payload, 'more', {});
      }));
      assert.equal(client.all('$disconnect').length, 0, `${event} ended the connection`);
    }
    await client.ok('chat:message', { conversationId: talk.id, content: 'after all that', type: 'text' });
    await watcher.next('chat:message', (message) => message.content === 'after all that');
    assert.equal(watcher.all('chat:read').length + watcher.all('chat:typing').length, 0, 'nothing of it went to others');
    client.close();
    watcher.close();
  });
});

/** A host that hibernates looks at its sockets together, every 20 s. */
const PATIENCE_MS = has('heartbeat') ? 8_000 : 28_000;

describe('tokens that end', { ...needs('secret'), concurrency: 8 }, () => {
  test('E-048 N55 auth:expiring comes 60 s before exp', async () => {
    const ann = await person(server, 'ann');
    const exp = now() + 62;
    const client = await ann.connect({ auth: { token: forged(server, ann.token, { exp }) }, ...straight });
    const start = Date.now();
    const event = await client.next('auth:expiring', () => true, { ms: 8_000 });
    assert.deepEqual(Object.keys(event), ['expiresAt']);
    const expires = typeof event.expiresAt === 'number' ? event.expiresAt : Date.parse(event.expiresAt) / 1000;
    assert.ok(Math.abs((expires > 1e11 ? expires / 1000 : expires) - exp) <= 1, `${event.expiresAt}`);
    assert.ok(Date.now() - start < 6_000);
    assert.equal(client.all('auth:expiring').length, 1);
    client.close();
  });

  test('E-049 auth:renew with a newer token of the session keeps the connection', async () => {
    const ann = await person(server, 'ann');
    const client = await ann.connect({ auth: { token: forged(server, ann.token, { exp: now() - 57 }) }, ...straight });
    const ack = await client.ok('auth:renew', { token: ann.token });
    assert.deepEqual(Object.keys(ack).sort(), ['expiresAt', 'ok']);
    await sleep(5_500);
    assert.equal(client.all('$disconnect').length, 0);
    client.close();
  });

  test('N55 without renewal the transport is closed at exp + 60 s, and a stock client comes back by itself', async () => {
    const ann = await person(server, 'ann');
    const late = forged(server, ann.token, { exp: now() - 57 });
    const client = new Client(server.baseUrl, { auth: (give) => give({ token: client.connects ? ann.token : late }), ...straight, reconnection: true, reconnectionDelay: 50 });
    await client.opened();
    const reason = await client.next('$disconnect', () => true, { ms: PATIENCE_MS });
    assert.equal(reason, 'transport close');
    await client.count('$connect', 2);
    client.close();
  });

  test('E-049 must be the same user and session', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const other = await ann.login();
    const client = await ann.connect(straight);
    for (const token of [bob.token, other.token, 'rubbish', '', ann.refreshToken]) {
      const ack = await client.call('auth:renew', { token });
      assert.ok(ack.error?.code, JSON.stringify(ack));
    }
    await client.refused('TOKEN_EXPIRED', 'auth:renew', { token: forged(server, ann.token, { exp: now() - 62, iat: now() - 999 }) });
    await client.ok('auth:renew', { token: forged(server, ann.token, { exp: now() + 1_800 }) });
    client.close();
  });

  test('S1 E-050 logout: auth:revoked, then the transport is closed; other sessions stay', async () => {
    const ann = await person(server, 'ann');
    const other = await ann.login();
    const [a, b, c] = [await ann.connect(straight), await ann.connect(), await other.connect(straight)];
    await ann.rest.post('/api/auth/logout', {});
    for (const client of [a, b]) {
      const event = await client.next('auth:revoked', () => true, { ms: 5_000 });
      assert.equal(typeof event.reason, 'string');
      await client.next('$disconnect', () => true, { ms: 2_000 });
    }
    await c.none('auth:revoked');
    c.emit('hb');
    await c.next('hb');
    await refused({ token: ann.token }, 'UNAUTHORIZED');
    c.close();
  });

  test('S1 E-050 logout-all closes all of them', async () => {
    const ann = await person(server, 'ann');
    const other = await ann.login();
    const clients = [await ann.connect(), await other.connect(straight), await other.connect({ transports: ['polling'] })];
    await ann.rest.post('/api/auth/logout-all', {});
    for (const client of clients) {
      await client.next('auth:revoked', () => true, { ms: 5_000 });
      await client.next('$disconnect', () => true, { ms: 2_000 });
    }
  });

  test('S2 E-050 reuse of a refresh token closes the family\'s sockets', async () => {
    const ann = await person(server, 'ann');
    const client = await ann.connect(straight);
    const { rest } = ann;
    await rest.post('/api/auth/refresh', { refreshToken: ann.refreshToken }, { 'x-client-id': 'one' });
    await rest.post('/api/auth/refresh', { refreshToken: ann.refreshToken }, { 'x-client-id': 'two' });
    await client.next('auth:revoked', () => true, { ms: 5_000 });
    await client.next('$disconnect', () => true, { ms: 2_000 });
  });

  test('a logged-out session cannot send in the meantime', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const client = await ann.connect(straight);
    await ann.rest.post('/api/auth/logout', {});
    await client.next('$disconnect', () => true, { ms: 7_000 });
    const { claims } = decode(ann.token);
    assert.ok(claims.sid);
    const history = await bob.rest.get(`/api/chats/conversations/${talk.id}/messages`);
    assert.deepEqual(history.body, []);
  });
});
