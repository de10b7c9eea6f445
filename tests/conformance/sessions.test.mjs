// Sessions and passwords. G-15, G-16, S1, N5. What only the mail knows is in process/mail.test.mjs.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { password, people, person, unique } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { isError, isId, isTime } from '../support/shapes.mjs';
import { straight } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const sessions = async (who) => {
  const list = await who.rest.get('/api/auth/sessions');
  assert.equal(list.status, 200, list.text);
  return list.body;
};
const end = (who, id) => who.rest.delete(`/api/auth/sessions/${id}`);

describe('G-15', () => {
  test('G-15 lists one\'s own sessions, and says which one asks', async () => {
    const ann = await person(server, 'ann');
    const phone = await ann.login({ 'user-agent': 'Phone/1.0' });
    const list = await sessions(phone);
    assert.equal(list.length, 2);
    for (const session of list) {
      assert.deepEqual(Object.keys(session).sort(), ['created_at', 'current', 'device', 'dialect', 'id', 'ip', 'last_seen_at']);
      isId(session.id);
      isTime(session.created_at);
      isTime(session.last_seen_at);
      assert.equal(session.dialect, 'chatcall');
      assert.equal(typeof session.ip, 'string');
      assert.equal(session.current, session.device === 'Phone/1.0');
    }
    assert.notEqual((await sessions(ann)).find(({ current }) => current).device, 'Phone/1.0');
    await phone.rest.post('/api/auth/logout', {});
    assert.equal((await sessions(ann)).length, 1);
  });

  test('G-15 an ended session can do nothing any more, the others go on', async () => {
    const ann = await person(server, 'ann');
    const phone = await ann.login();
    const { id } = (await sessions(phone)).find(({ current }) => current);
    assert.equal((await end(ann, id)).status, 204);
    assert.equal((await end(ann, id)).status, 204, 'again');
    isError(await phone.rest.get('/api/auth/me'), 401, 'UNAUTHORIZED');
    assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: phone.refreshToken })).status, 401);
    assert.equal((await ann.rest.get('/api/auth/me')).status, 200);
    assert.equal((await sessions(ann)).length, 1);
  });

  test('G-15 somebody else\'s session and none are the same 404', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const [{ id }] = await sessions(bob);
    const missing = await end(ann, randomUUID());
    isError(missing, 404, 'NOT_FOUND');
    for (const other of [id, 'x', '1%20OR%201=1']) assert.equal((await end(ann, other)).text, missing.text);
    assert.equal((await bob.rest.get('/api/auth/me')).status, 200);
  });

  test('S1 E-050 its sockets are closed within 5 s, the others stay', needs('objects'), async () => {
    const ann = await person(server, 'ann');
    const phone = await ann.login();
    const [a, p] = [await ann.connect(straight), await phone.connect(straight)];
    const { id } = (await sessions(phone)).find(({ current }) => current);
    await end(ann, id);
    await p.next('auth:revoked', () => true, { ms: 5_000 });
    await p.next('$disconnect', () => true, { ms: 5_000 });
    await a.none('auth:revoked');
    a.close();
  });
});

describe('G-16 change', () => {
  const change = (who, body) => who.rest.post('/api/auth/password', body);

  test('G-16 the new password works, the old one and every other session do not', async () => {
    const ann = await person(server, 'ann');
    const phone = await ann.login();
    const [old, next] = [ann.password, password()];
    assert.equal((await change(ann, { currentPassword: old, newPassword: next })).status, 204);
    assert.equal((await ann.rest.get('/api/auth/me')).status, 200);
    assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: ann.refreshToken })).status, 200);
    isError(await phone.rest.get('/api/auth/me'), 401, 'UNAUTHORIZED');
    assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: phone.refreshToken })).status, 401);
    isError(await new Rest(server.baseUrl).post('/api/auth/login', { email: ann.email, password: old }), 401, 'UNAUTHORIZED');
    ann.password = next;
    await ann.login();
  });

  test('G-16 S1 sockets of the other sessions are closed, this one\'s stay', needs('objects'), async () => {
    const ann = await person(server, 'ann');
    const phone = await ann.login();
    const [a, p] = [await ann.connect(straight), await phone.connect(straight)];
    await change(ann, { currentPassword: ann.password, newPassword: password() });
    await p.next('auth:revoked', () => true, { ms: 5_000 });
    await a.none('auth:revoked');
    a.close();
  });

  for (const [name, body, status, code, field] of [
    ['the wrong password', { currentPassword: 'wrong' }, 403, 'REAUTH_REQUIRED'], ['no password', { currentPassword: undefined }, 403, 'REAUTH_REQUIRED'],
    ['an object as password', { currentPassword: { $ne: 1 } }, 400, 'INVALID_DATA', 'currentPassword'], ['no new one', { newPassword: undefined }, 400, 'INVALID_DATA', 'newPassword'],
    ['7 characters', { newPassword: 'abcdef7' }, 400, 'INVALID_DATA', 'newPassword'], ['NUL', { newPassword: 'abcdef\u0000ghij' }, 400, 'INVALID_DATA', 'newPassword'], ['73 bytes', { newPassword: 'p'.repeat(73) }, 400, 'PASSWORD_TOO_LONG', 'newPassword'],
  ]) {
    test(`N5 G-16 ${name}: ${status} ${code}`, async () => {
      const ann = await person(server, 'ann');
      isError(await change(ann, { currentPassword: ann.password, newPassword: password(), ...body }), status, code, field ? { field } : {});
      await ann.login();
    });
  }
});

describe('G-16 reset', () => {
  const rest = () => new Rest(server.baseUrl);

  test('G-16 a request is 202 for everybody, byte for byte', async () => {
    const ann = await person(server, 'ann');
    const known = await rest().post('/api/auth/reset/request', { email: ann.email.toUpperCase() });
    const unknown = await rest().post('/api/auth/reset/request', { email: `${unique('nobody')}@test.invalid` });
    assert.deepEqual([known.status, unknown.status], [202, 202]);
    assert.equal(known.text, unknown.text);
    assert.equal((await ann.rest.get('/api/auth/me')).status, 200, 'nothing has changed yet');
  });

  for (const [name, body, field] of [
    ['no token', { token: undefined }, 'token'], ['an object as token', { token: { $gt: '' } }, 'token'], ['an unknown token', {}, 'token'], ['an access token', { token: 'a.b.c' }, 'token'], ['7 characters', { newPassword: 'abcdef7' }, 'newPassword'],
  ]) {
    test(`G-16 ${name}: 400 INVALID_DATA`, async () => {
      isError(await rest().post('/api/auth/reset', { token: 'f'.repeat(64), newPassword: password(), ...body }), 400, 'INVALID_DATA', { field });
    });
  }

  test('N5 73 bytes are 400 PASSWORD_TOO_LONG, NUL is 400', async () => {
    isError(await rest().post('/api/auth/reset', { token: 'f'.repeat(64), newPassword: 'p'.repeat(73) }), 400, 'PASSWORD_TOO_LONG');
    isError(await rest().post('/api/auth/reset', { token: 'f'.repeat(64), newPassword: 'abcdef\u0000ghij' }), 400, 'INVALID_DATA', { field: 'newPassword' });
  });

  test('N29 a request without a text as e-mail is 400', async () => {
    for (const body of [{}, { email: 1 }, { email: { $gt: '' } }, { email: null }]) isError(await rest().post('/api/auth/reset/request', body), 400, 'INVALID_DATA', { field: 'email' });
  });
});
