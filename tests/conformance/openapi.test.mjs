// The description of the interface: served by every host, and strict enough to notice what it does not describe. That
// every other answer of every suite is as it says, and every request that was answered 2xx, is checked by the client of the
// suites (support/rest.mjs).
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { conforms, document, requested } from '../support/openapi.mjs';
import { person } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

test('GET /api/openapi.json is the document, for anybody', async () => {
  const answer = await new Rest(server.baseUrl).get('/api/openapi.json');
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(answer.body, document);
  assert.match(answer.body.openapi, /^3\.1\./);
});

test('every reference leads somewhere', () => {
  const walk = (value) => {
    if (typeof value !== 'object' || value === null) return;
    if (value.$ref) assert.ok(value.$ref.slice(2).split('/').reduce((at, key) => at?.[key], document), value.$ref);
    Object.values(value).forEach(walk);
  };
  walk(document);
});

describe('an answer that is not described', () => {
  const answer = (status, body) => ({ status, headers: new Headers(), text: JSON.stringify(body), body });
  let me;
  before(async () => { me = (await (await person(server, 'ann')).rest.get('/api/auth/me')).body; });
  for (const [name, change] of [
    ['another field', { password_hash: 'x' }], ['a field of another type', { username: 7 }], ['a time without milliseconds', { created_at: '2026-03-01T09:30:00Z' }],
    ['no id', { id: 'x' }], ['a missing field', { bio: undefined }],
  ]) {
    test(`${name} is noticed`, () => {
      conforms('GET', '/api/auth/me', answer(200, me));
      assert.throws(() => conforms('GET', '/api/auth/me?x', answer(200, { ...me, ...change })), /not as schema/);
    });
  }
  test('another status is noticed, errors have their shape', () => {
    assert.throws(() => conforms('GET', '/api/auth/me', answer(202, me)), /not in schema/);
    assert.throws(() => conforms('GET', '/api/auth/me', answer(404, { error: 'x' })), /not as schema/);
    conforms('GET', '/api/auth/me', answer(404, { error: 'x', code: 'NOT_FOUND', message: 'x' }));
  });
});

describe('a request that is not allowed', () => {
  const json = { 'content-type': 'application/json; charset=utf-8' };
  const id = '0195F0A0-6c3e-7b1a-9d52-0d6f0a1b2c3d';
  const login = { email: 'a', password: 'b', more: [1] };
  test('others are not noticed', () => {
    requested('POST', '/api/auth/login', { ...json, 'x-auth-mode': 'cookie', more: 'x' }, login);
    requested('POST', '/api/auth/login', json, JSON.stringify(login));
    requested('POST', '/api/auth/logout', {}, undefined);
    requested('GET', `/api/chats/conversations/${id}/messages?limit=9999&before=2026-03-01T09:30%2B01:00`, {}, undefined);
    requested('GET', '/nothing?x', {}, { x: 1 });
  });
  for (const [name, method, path, headers, body] of [
    ['a field of another type', 'POST', '/api/auth/login', json, { ...login, email: 1 }], ['a missing field', 'POST', '/api/auth/login', json, { email: 'a' }], ['no body', 'POST', '/api/auth/login', json, undefined],
    ['no JSON', 'POST', '/api/auth/login', json, '{'], ['no UTF-8', 'POST', '/api/auth/login', json, Uint8Array.of(0x22, 0xff, 0x22)], ['another type', 'POST', '/api/auth/login', { 'content-type': 'text/plain' }, login],
    ['a body where none is described', 'GET', '/api/auth/me', json, {}], ['no id', 'GET', '/api/users/x', {}, undefined], ['a parameter of another type', 'GET', '/api/chats/conversations?limit=x', {}, undefined],
    ['an unknown parameter', 'GET', '/api/chats/conversations?limits=1', {}, undefined], ['a parameter twice', 'GET', '/api/users/search?q=ann&q=ann', {}, undefined], ['a missing parameter', 'GET', '/api/users/search', {}, undefined],
    ['an escape that is none', 'GET', '/api/users/search?q=ann%', {}, undefined],
  ]) {
    test(`${name} is noticed`, () => assert.throws(() => requested(method, path, headers, body), /not as schema/));
  }
});
