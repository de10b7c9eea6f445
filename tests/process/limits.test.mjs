// Rates as they are in production: 429 or RATE_LIMITED with the time to wait, and nobody else is touched. 3.3, V-27, O3.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, person, people, unique } from '../support/people.mjs';
import { openSocket, RawSocket } from '../support/raw.mjs';
import { Rest } from '../support/rest.mjs';
import { isError } from '../support/shapes.mjs';
import { refusedConnect } from '../support/sockets.mjs';
import { startServer } from '../support/server.mjs';

const limited = () => startServer({ env: { RATE_LIMITS: 'on' } });
const register = (rest) => {
  const username = unique('r');
  return rest.post('/api/auth/register', { username, email: `${username}@test.invalid`, password: 'kTz81-plover-Quartz' });
};
const isLimited = (answer) => {
  isError(answer, 429, 'RATE_LIMITED');
  assert.ok(Number.isInteger(answer.body.retryAfter) && answer.body.retryAfter >= 1);
  assert.equal(answer.headers.get('retry-after'), String(answer.body.retryAfter));
};

describe('rates', { concurrency: 4 }, () => {
  test('3.3 wrong logins: 5 per account and address; another account is not locked', async () => {
    const server = await limited();
    const rest = new Rest(server.baseUrl);
    const [ann, bob] = await people(server, 'ann', 'bob');
    const login = (who, password) => rest.post('/api/auth/login', { email: who.email, password });
    for (let n = 0; n < 5; n += 1) isError(await login(ann, 'wrong-password'), 401, 'UNAUTHORIZED');
    isLimited(await login(ann, 'wrong-password'));
    assert.equal((await login(bob, bob.password)).status, 200);
    for (let n = 0; n < 10; n += 1) assert.equal((await login(bob, bob.password)).status, 200, 'right logins are not counted');
    assert.equal((await ann.rest.get('/api/auth/me')).status, 200, 'who is signed in stays so');
    await server.stop();
  });

  test('N65 3.3 five registrations per hour and address, whatever address a header claims', async () => {
    const server = await limited();
    const rest = new Rest(server.baseUrl);
    for (let n = 0; n < 5; n += 1) assert.equal((await register(rest)).status, 201);
    isLimited(await register(rest));
    isLimited(await rest.post('/api/auth/register', { username: 'x', email: 'x@test.invalid', password: 'kTz81-plover-Quartz' }, { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9', 'x-real-ip': '203.0.113.9' }));
    await server.stop();
  });

  test('N2 an existing e-mail is told under the rate of registrations only', async () => {
    const server = await limited();
    const rest = new Rest(server.baseUrl);
    const ann = await person(server, 'ann');
    const again = () => rest.post('/api/auth/register', { username: unique('r'), email: ann.email, password: 'kTz81-plover-Quartz' });
    for (let n = 0; n < 4; n += 1) isError(await again(), 409, 'CONFLICT', { field: 'email' });
    isLimited(await again());
    await server.stop();
  });

  test('V-27 100 messages per minute and user: RATE_LIMITED, safe to repeat; others go on', async () => {
    const server = await limited();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const [a, b] = [await ann.connect({ transports: ['websocket'] }), await bob.connect()];
    const acks = await Promise.all(Array.from({ length: 120 }, (_, n) => a.call('chat:message', { conversationId: talk.id, content: `m${n}`, type: 'text', clientId: `k${n}` })));
    const good = acks.filter((ack) => ack.ok).length;
    assert.ok(good >= 100 && good <= 103, `${good} passed`);
    for (const { error } of acks.filter((ack) => !ack.ok)) {
      assert.equal(error.code, 'RATE_LIMITED');
      assert.ok(error.retryAfter >= 1);
    }
    await b.ok('chat:message', { conversationId: talk.id, content: 'mine', type: 'text' });
    isLimited(await ann.rest.post(`/api/chats/conversations/${talk.id}/messages`, { content: 'by REST', type: 'text' }));
    assert.equal((await ann.rest.get(`/api/chats/conversations/${talk.id}/messages?limit=200`)).body.length, good + 1);
    [ann, bob].forEach((who) => who.close());
    await server.stop();
  });

  test('3.3 typing once per 3 s and conversation, joins 60 per minute', async () => {
    const server = await limited();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const [a, b] = [await ann.connect({ transports: ['websocket'] }), await bob.connect()];
    for (const client of [a, b]) await client.ok('chat:join', talk.id);
    for (let n = 0; n < 20; n += 1) a.emit('chat:typing', { conversationId: talk.id });
    await b.next('chat:typing');
    await sleep(500);
    assert.equal(b.all('chat:typing').length, 1);
    const joins = await Promise.all(Array.from({ length: 70 }, () => a.call('chat:join', talk.id)));
    const refused = joins.filter(({ error }) => error);
    assert.ok(refused.length >= 8 && refused.length <= 12, `${refused.length} refused`);
    refused.forEach(({ error }) => assert.equal(error.code, 'RATE_LIMITED'));
    [ann, bob].forEach((who) => who.close());
    await server.stop();
  });

  test('3.3 refresh 30 per minute and user', async () => {
    const server = await limited();
    const ann = await person(server, 'ann');
    let token = ann.refreshToken;
    let count = 0;
    for (; count < 40; count += 1) {
      const answer = await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: token }, { 'x-client-id': 'c' });
      if (answer.status !== 200) { isLimited(answer); break; }
      token = answer.body.refreshToken;
    }
    assert.ok(count >= 29 && count <= 31, `${count} passed`);
    await server.stop();
  });

  test('3.3 five failed socket authentications per minute and address; a good token still connects', async () => {
    const server = await limited();
    const ann = await person(server, 'ann');
    const codes = [];
    // Gateways count for themselves.
    for (let n = 0; n < 40; n += 1) {
      const error = await refusedConnect(server.baseUrl, { auth: { token: 'rubbish' }, transports: ['websocket'] });
      codes.push(error.data?.code ?? error.message);
    }
    assert.deepEqual(codes.slice(0, 5), Array(5).fill('UNAUTHORIZED'));
    assert.ok(codes.slice(5).some((code) => code !== 'UNAUTHORIZED'), `${codes}`);
    assert.ok(server.alive());
    assert.equal((await ann.rest.get('/api/auth/me')).status, 200);
    await server.stop();
  });

  test('3.2 at most 20 unauthenticated sockets per address, then 429 or closed; they go after 5 s', async () => {
    const server = await limited();
    const ann = await person(server, 'ann');
    const early = await ann.connect({ transports: ['websocket'] });
    const sockets = Array.from({ length: 60 }, () => new RawSocket(server.baseUrl));
    await Promise.all(sockets.map((socket) => Promise.race([socket.next(3_000).catch(() => {}), socket.closed])));
    await sleep(200);
    const open = sockets.filter((socket) => socket.code === undefined).length;
    // The bound is per gateway, and there are two: 40 could be spread evenly.
    assert.ok(open < 60, `${open} of 60 stay open`);
    early.emit('hb');
    await early.next('hb');
    await sleep(6_500);
    assert.equal(sockets.filter((socket) => socket.code === undefined).length, 0);
    ann.close();
    await server.stop();
  });

  test('guarantees 3.3: a user who floods nonsense does not slow the others', async () => {
    const server = await limited();
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const talk = await direct(ann, bob);
    const a = await ann.connect({ transports: ['websocket'] });
    const raw = await openSocket(server.baseUrl);
    raw.send(`40${JSON.stringify({ token: eve.token })}`);
    await raw.next();
    let on = true;
    const flood = (async () => {
      while (on && raw.ws.readyState === 1) {
        for (let n = 0; n < 50; n += 1) raw.send(`42${n}["chat:message",{"conversationId":"${talk.id}","content":"x","type":"text"}]`, '42["chat:typing",{}]');
        await sleep(1);
      }
    })();
    const times = [];
    for (let n = 0; n < 40; n += 1) {
      const start = performance.now();
      await a.ok('chat:message', { conversationId: talk.id, content: `m${n}`, type: 'text' });
      times.push(performance.now() - start);
    }
    on = false;
    await flood;
    times.sort((x, y) => x - y);
    assert.ok(times[35] < 500, `p90 ${times[35]} ms`);
    raw.close();
    ann.close();
    await server.stop();
  });
});
