// Accounts: registration, login, own record, password rules., N1, N2, N4, N5, N14, N29.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { decode, password, person, unique } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { isError, isOwnUser } from '../support/shapes.mjs';
import { target } from '../support/target.mjs';

let server;
let rest;
before(async () => { server = await target(); rest = new Rest(server.baseUrl); });
after(() => server?.stop());

const fresh = (change = {}) => {
  const username = unique('reg');
  return { username, email: `${username}@test.invalid`, password: password(), ...change };
};
const register = (change) => rest.post('/api/auth/register', fresh(change));

describe('R-01 register', () => {
  test('R-01 answers 201 with the own record and both tokens, nothing else', async () => {
    const fields = fresh();
    const answer = await rest.post('/api/auth/register', fields);
    assert.equal(answer.status, 201);
    assert.match(answer.headers.get('content-type'), /^application\/json; ?charset=utf-8$/i);
    assert.deepEqual(Object.keys(answer.body).sort(), ['accessToken', 'refreshToken', 'user']);
    isOwnUser(answer.body.user);
    assert.equal(answer.body.user.username, fields.username);
    assert.equal(answer.body.user.display_name, fields.username);
    assert.equal(answer.body.user.email, fields.email);
    assert.equal(answer.body.user.avatar_url, null);
    assert.doesNotMatch(answer.text, /password|\$2b\$/);
  });

  test('1.4 the access token names issuer, audience, user, session, version; the refresh token is opaque', async () => {
    const ann = await person(server, 'ann');
    const { header, claims } = decode(ann.token);
    assert.equal(header.typ, 'at+jwt');
    assert.ok(['EdDSA', 'HS256'].includes(header.alg));
    for (const name of ['iss', 'aud', 'sub', 'username', 'sid', 'ver', 'jti', 'iat', 'exp']) assert.ok(claims[name] !== undefined, name);
    assert.equal(claims.sub, ann.id);
    assert.equal(claims.username, ann.username);
    assert.equal(claims.exp - claims.iat, 15 * 60);
    assert.ok(!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(ann.refreshToken), 'opaque');
    assert.ok(ann.refreshToken.length >= 43, '256 bits');
  });

  for (const [name, change, field] of [
    ['the same name', (a) => ({ username: a.username }), 'username'], ['the same name in capitals', (a) => ({ username: a.username.toUpperCase() }), 'username'],
    ['the same e-mail', (a) => ({ email: a.email }), 'email'], ['the same e-mail in capitals', (a) => ({ email: a.email.toUpperCase() }), 'email'],
  ]) {
    test(`N2 ${name} is 409 CONFLICT and names the field`, async () => {
      const ann = await person(server, 'ann');
      isError(await register(change(ann)), 409, 'CONFLICT', { field });
    });
  }

  test('20 people who take one name at once: one gets it', async () => {
    const username = unique('race');
    const answers = await Promise.all(Array.from({ length: 20 }, () => register({ username })));
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    answers.filter(({ status }) => status !== 201).forEach((answer) => isError(answer, 409, 'CONFLICT', { field: 'username' }));
  });

  for (const [name, change, field] of [
    ['no name', { username: undefined }, 'username'], ['an empty name', { username: '' }, 'username'], ['a name of 51 characters', { username: 'n'.repeat(51) }, 'username'],
    ['a name with a space', { username: 'a b' }, 'username'], ['a name with a slash', { username: 'a/b' }, 'username'], ['a name with a control character', { username: 'a\u0007b' }, 'username'],
    ['a number as name', { username: 42 }, 'username'], ['an array as name', { username: ['a'] }, 'username'],
    ['no e-mail', { email: undefined }, 'email'], ['an e-mail without @', { email: 'nobody' }, 'email'], ['an e-mail of 256 bytes', { email: `${'e'.repeat(247)}@test.io` }, 'email'],
    ['an object as e-mail', { email: { $gt: '' } }, 'email'], ['null as e-mail', { email: null }, 'email'],
    ['no password', { password: undefined }, 'password'], ['a password of 7 characters', { password: 'abcdef7' }, 'password'], ['a number as password', { password: 12345678901 }, 'password'],
    ['an object as password', { password: { $ne: 1 } }, 'password'], ['a password with NUL', { password: 'abcdef\u0000ghij' }, 'password'],
  ]) {
    test(`N4 N29 ${name} is 400 INVALID_DATA`, async () => {
      isError(await register(change), 400, 'INVALID_DATA', { field });
    });
  }

  for (const [name, secret] of [
    ['of 8 characters', 'Tr0ub4d&'], ['of 64 ASCII characters', `x7${'aB3$'.repeat(15)}yz`], ['of exactly 72 bytes', `${'k9#Qm2'.repeat(12)}`], ['of 24 three-byte characters', '\u20ac'.repeat(24)], ['with spaces around it', '  spaced out  '],
  ]) {
    test(`N4 a password ${name} is taken and works exactly as given`, async () => {
      const fields = fresh({ password: secret });
      assert.equal((await rest.post('/api/auth/register', fields)).status, 201);
      assert.equal((await rest.post('/api/auth/login', { email: fields.email, password: secret })).status, 200);
      isError(await rest.post('/api/auth/login', { email: fields.email, password: `${secret} ` }), 401, 'UNAUTHORIZED');
    });
  }

  test('N5 73 bytes are 400 PASSWORD_TOO_LONG, never cut', async () => {
    isError(await register({ password: 'p'.repeat(73) }), 400, 'PASSWORD_TOO_LONG');
    isError(await register({ password: '\u20ac'.repeat(25) }), 400, 'PASSWORD_TOO_LONG');
    const fields = fresh({ password: `${'k9#Qm2'.repeat(12)}` });
    await rest.post('/api/auth/register', fields);
    isError(await rest.post('/api/auth/login', { email: fields.email, password: `${fields.password}x` }), 401, 'UNAUTHORIZED');
  });

  test('N14 role, id, password_hash and the like are never stored', async () => {
    const wanted = '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d';
    await person(server, 'first');
    const secret = password();
    const answer = await register({ password: secret, role: 'admin', id: wanted, password_hash: '$2b$12$x', token_version: 9, disabled_at: null });
    if (answer.status === 400) return;
    assert.equal(answer.status, 201);
    assert.notEqual(answer.body.user.id, wanted);
    assert.notEqual(answer.body.user.role, 'admin');
    assert.notEqual(decode(answer.body.accessToken).claims.ver, 9);
    const again = await rest.post('/api/auth/login', { email: answer.body.user.email, password: secret });
    assert.equal(again.status, 200, again.text);
    assert.deepEqual(again.body.user, answer.body.user);
  });
});

describe('R-02 login', () => {
  test('R-02 answers 200 with the same shape; the e-mail is case-folded', async () => {
    const ann = await person(server, 'ann');
    for (const email of [ann.email, ann.email.toUpperCase()]) {
      const answer = await rest.post('/api/auth/login', { email, password: ann.password });
      assert.equal(answer.status, 200);
      assert.deepEqual(Object.keys(answer.body).sort(), ['accessToken', 'refreshToken', 'user']);
      isOwnUser(answer.body.user);
      assert.equal(answer.body.user.id, ann.id);
    }
  });

  test('N1 an unknown e-mail and a wrong password are the same 401, byte for byte', async () => {
    const ann = await person(server, 'ann');
    const wrong = await rest.post('/api/auth/login', { email: ann.email, password: 'not-the-password' });
    const unknown = await rest.post('/api/auth/login', { email: `${unique('nobody')}@test.invalid`, password: 'not-the-password' });
    const long = await rest.post('/api/auth/login', { email: ann.email, password: 'x'.repeat(100) });
    isError(wrong, 401, 'UNAUTHORIZED');
    assert.equal(unknown.text, wrong.text);
    assert.equal(long.text, wrong.text);
    assert.deepEqual([unknown.status, long.status], [401, 401]);
  });

  test('N1 both take the same time', async () => {
    const ann = await person(server, 'ann');
    const median = async (email) => {
      const times = [];
      for (let n = 0; n < 15; n += 1) {
        const start = performance.now();
        await rest.post('/api/auth/login', { email, password: 'not-the-password' });
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b)[7];
    };
    const [known, unknown] = [await median(ann.email), await median(`${unique('nobody')}@test.invalid`)];
    // The figure of N1 (5 %) needs cost 12 and a quiet machine; here only that a hash is computed in both cases.
    assert.ok(unknown > known / 3 && known > unknown / 3, `${known} ms and ${unknown} ms`);
  });

  for (const [name, body] of [
    ['no fields', {}], ['no password', { email: 'a@test.invalid' }], ['operators in place of strings', { email: { $gt: '' }, password: { $gt: '' } }], ['arrays', { email: ['a@test.invalid'], password: ['x'] }],
    ['numbers', { email: 1, password: 2 }], ['null', { email: null, password: null }], ['a password with NUL', { email: 'a@test.invalid', password: 'abcdef\u0000ghij' }],
  ]) {
    test(`N29 ${name}: 400`, async () => {
      isError(await rest.post('/api/auth/login', body), 400, 'INVALID_DATA');
    });
  }
});

describe('R-04 me', () => {
  test('R-04 is the own record', async () => {
    const ann = await person(server, 'ann');
    const answer = await ann.rest.get('/api/auth/me');
    assert.equal(answer.status, 200);
    isOwnUser(answer.body);
    assert.equal(answer.body.id, ann.id);
    assert.equal(answer.body.email, ann.email);
  });

  for (const [name, headers] of [
    ['no token', {}], ['an empty token', { authorization: 'Bearer ' }], ['rubbish', { authorization: 'Bearer rubbish' }], ['another scheme', { authorization: 'Basic YTpi' }], ['three dots', { authorization: 'Bearer a.b.c' }],
    ['a token of 20,000 bytes', { authorization: `Bearer ${'a'.repeat(9_000)}.b.c` }],
  ]) {
    test(`${name}: 401 UNAUTHORIZED`, async () => {
      isError(await rest.get('/api/auth/me', headers), 401, 'UNAUTHORIZED');
    });
  }

  test('N16 a token in the query is none', async () => {
    const ann = await person(server, 'ann');
    for (const name of ['token', 'access_token', 'accessToken', 'authorization', 'bearer_token', 'jwt']) {
      isError(await rest.get(`/api/auth/me?${name}=${ann.token}`), 401, 'UNAUTHORIZED');
      isError(await rest.get(`/api/auth/me?${name}=Bearer%20${ann.token}`), 401, 'UNAUTHORIZED');
    }
  });

  test('N65 X-User-Id and the like change nothing', async () => {
    const ann = await person(server, 'ann');
    const bob = await person(server, 'bob');
    const answer = await ann.rest.get('/api/auth/me', { 'x-user-id': bob.id, 'x-forwarded-user': bob.username });
    assert.equal(answer.body.id, ann.id);
    isError(await rest.get('/api/auth/me', { 'x-user-id': bob.id }), 401, 'UNAUTHORIZED');
  });
});
