// Tokens and sessions: refresh with rotation and reuse, cookie mode, logout, forged tokens. R-03, G-01, S1, S2, N7, N8, N10, N11.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, forged, person, sign } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { isError } from '../support/shapes.mjs';
import { needs, target } from '../support/target.mjs';

let server;
let rest;
before(async () => { server = await target(); rest = new Rest(server.baseUrl); });
after(() => server?.stop());

const refresh = (refreshToken, headers = { 'x-client-id': 'this-client' }) => rest.post('/api/auth/refresh', { refreshToken }, headers);
const me = (token) => new Rest(server.baseUrl, token).get('/api/auth/me');

describe('R-03 refresh', () => {
  test('R-03 always gives a new refresh token, and an access token that works', async () => {
    const ann = await person(server, 'ann');
    let token = ann.refreshToken;
    const seen = new Set([token]);
    for (let n = 0; n < 3; n += 1) {
      const answer = await refresh(token);
      assert.equal(answer.status, 200);
      assert.deepEqual(Object.keys(answer.body).sort(), ['accessToken', 'refreshToken']);
      token = answer.body.refreshToken;
      assert.ok(!seen.has(token));
      seen.add(token);
      assert.equal((await me(answer.body.accessToken)).body.id, ann.id);
      assert.equal(decode(answer.body.accessToken).claims.sid, decode(ann.token).claims.sid, 'the session stays the same');
    }
  });

  test('N10 S2 the same client repeating within 10 s gets the same successor', async () => {
    const ann = await person(server, 'ann');
    const first = await refresh(ann.refreshToken);
    const again = await refresh(ann.refreshToken);
    assert.equal(again.status, 200);
    assert.equal(again.body.refreshToken, first.body.refreshToken);
    assert.equal((await refresh(first.body.refreshToken)).status, 200);
  });

  test('N10 another client with a used token: REFRESH_REUSED, and the successor is dead too', async () => {
    const ann = await person(server, 'ann');
    const first = await refresh(ann.refreshToken);
    isError(await refresh(ann.refreshToken, { 'x-client-id': 'a-thief' }), 401, 'REFRESH_REUSED');
    const successor = await refresh(first.body.refreshToken);
    assert.equal(successor.status, 401);
    assert.ok(['REFRESH_REUSED', 'UNAUTHORIZED'].includes(successor.body.code));
  });

  test('N10 a token two generations old gives nothing new, even to the same client', async () => {
    const ann = await person(server, 'ann');
    const one = await refresh(ann.refreshToken);
    await refresh(one.body.refreshToken);
    const again = await refresh(ann.refreshToken);
    assert.ok(again.status === 401 || again.body.refreshToken === one.body.refreshToken, again.text);
  });

  test('N10 reuse kills one family, not the other sessions of the same person', async () => {
    const ann = await person(server, 'ann');
    const other = await ann.login();
    await refresh(ann.refreshToken);
    await refresh(ann.refreshToken, { 'x-client-id': 'a-thief' });
    assert.equal((await refresh(other.refreshToken)).status, 200);
  });

  test('N11 F31 50 parallel refreshes of one token: exactly one branch', async () => {
    const ann = await person(server, 'ann');
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(ann.refreshToken)));
    const good = answers.filter(({ status }) => status === 200);
    assert.equal(good.length, 50, `${answers.find(({ status }) => status !== 200)?.text}`);
    assert.equal(new Set(good.map(({ body }) => body.refreshToken)).size, 1);
    assert.equal((await refresh(good[0].body.refreshToken)).status, 200);
  });

  for (const [name, body, status] of [
    ['an unknown token', { refreshToken: 'A'.repeat(43) }, 401], ['an empty one', { refreshToken: '' }, 0], ['none', {}, 0], ['a number', { refreshToken: 7 }, 400], ['an object', { refreshToken: {} }, 400],
  ]) {
    test(`${name} is refused`, async () => {
      const answer = await rest.post('/api/auth/refresh', body);
      assert.ok(status ? answer.status === status : [400, 401].includes(answer.status), answer.text);
      isError(answer, answer.status, answer.status === 400 ? 'INVALID_DATA' : 'UNAUTHORIZED');
    });
  }

  test('section 7: a refresh token is never an access token, nor the reverse', async () => {
    const ann = await person(server, 'ann');
    isError(await me(ann.refreshToken), 401, 'UNAUTHORIZED');
    isError(await refresh(ann.token), 401, 'UNAUTHORIZED');
  });
});

describe('cookie mode (C-33)', () => {
  const cookieOf = (answer) => answer.headers.getSetCookie().find((line) => line.includes('=') && !/=;/.test(line));
  const login = async (ann, headers = {}) => rest.post('/api/auth/login', { email: ann.email, password: ann.password }, { 'x-auth-mode': 'cookie', ...headers });

  test('login puts the refresh token into a cookie that scripts and other sites cannot see', async () => {
    const ann = await person(server, 'ann');
    const answer = await login(ann);
    assert.equal(answer.status, 200);
    assert.equal(answer.body.refreshToken, null);
    assert.ok(answer.body.accessToken);
    const cookie = cookieOf(answer);
    for (const part of [/;\s*HttpOnly/i, /;\s*Secure/i, /;\s*SameSite=Strict/i, /;\s*Path=\/api\/auth/i]) assert.match(cookie, part);
  });

  test('refresh by cookie rotates the cookie; a foreign origin is refused and rotates nothing', async () => {
    const ann = await person(server, 'ann');
    const cookie = cookieOf(await login(ann)).split(';')[0];
    const mode = { 'x-auth-mode': 'cookie', 'x-client-id': 'browser', cookie };
    const foreign = await rest.post('/api/auth/refresh', {}, { ...mode, origin: 'https://evil.example' });
    assert.ok([401, 403].includes(foreign.status), foreign.text);
    const answer = await rest.post('/api/auth/refresh', {}, { ...mode, origin: server.baseUrl });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.refreshToken, null);
    const rotated = cookieOf(answer).split(';')[0];
    assert.notEqual(rotated, cookie);
    assert.equal((await me(answer.body.accessToken)).status, 200);
    assert.equal((await rest.post('/api/auth/refresh', {}, { ...mode, cookie: rotated, origin: server.baseUrl })).status, 200);
  });

  test('a cookie does not authenticate anything but refresh', async () => {
    const ann = await person(server, 'ann');
    const cookie = cookieOf(await login(ann)).split(';')[0];
    isError(await rest.get('/api/auth/me', { cookie }), 401, 'UNAUTHORIZED');
  });
});

describe('G-01 logout, and what waits', { concurrency: 5 }, () => {
  test('N10 S2 the same client later than 10 s: REFRESH_REUSED, and the successor is dead too', async () => {
    const ann = await person(server, 'ann');
    const first = await refresh(ann.refreshToken);
    await sleep(10_500);
    isError(await refresh(ann.refreshToken), 401, 'REFRESH_REUSED');
    assert.equal((await refresh(first.body.refreshToken)).status, 401);
    assert.equal((await me(first.body.accessToken)).status, 401);
  });

  /** The token is refused within a minute (S1). */
  const refusedSoon = async (token) => {
    for (const end = Date.now() + 61_000; ; await sleep(500)) {
      const answer = await me(token);
      if (answer.status === 401) return;
      assert.ok(Date.now() < end, 'the access token still works after a minute');
    }
  };

  test('logout ends this session and no other', async () => {
    const ann = await person(server, 'ann');
    const other = await ann.login();
    const answer = await ann.rest.post('/api/auth/logout', {});
    assert.equal(answer.status, 204);
    assert.equal(answer.text, '');
    assert.equal((await refresh(ann.refreshToken)).status, 401);
    await refusedSoon(ann.token);
    assert.equal((await me(other.token)).status, 200);
    assert.equal((await refresh(other.refreshToken)).status, 200);
  });

  test('logout without a body, and with the refresh token named', async () => {
    const ann = await person(server, 'ann');
    const other = await ann.login();
    assert.equal((await ann.rest.post('/api/auth/logout')).status, 204);
    assert.equal((await other.rest.post('/api/auth/logout', { refreshToken: other.refreshToken })).status, 204);
    assert.equal((await refresh(other.refreshToken)).status, 401);
  });

  test('logout with somebody else\'s refresh token does not end that session', async () => {
    const [ann, bob] = [await person(server, 'ann'), await person(server, 'bob')];
    await ann.rest.post('/api/auth/logout', { refreshToken: bob.refreshToken });
    assert.equal((await refresh(bob.refreshToken)).status, 200);
  });

  test('logout-all ends all sessions; the account can sign in again', async () => {
    const ann = await person(server, 'ann');
    const other = await ann.login();
    assert.equal((await ann.rest.post('/api/auth/logout-all', {})).status, 204);
    for (const session of [ann, other]) {
      assert.equal((await refresh(session.refreshToken)).status, 401);
      await refusedSoon(session.token);
    }
    const again = await ann.login();
    assert.equal((await me(again.token)).status, 200);
  });

  test('without a token: 401', async () => {
    isError(await rest.post('/api/auth/logout', {}), 401, 'UNAUTHORIZED');
    isError(await rest.post('/api/auth/logout-all', {}), 401, 'UNAUTHORIZED');
  });
});

describe('forged access tokens', needs('secret'), () => {
  const now = () => Math.floor(Date.now() / 1000);
  let ann;
  before(async () => { ann = await person(server, 'ann'); });

  test('the suite can sign at all: the same claims again are accepted', async () => {
    assert.equal((await me(forged(server, ann.token))).status, 200);
  });

  test('clocks: 30 s past exp and 30 s before nbf are within the 60 s of skew', async () => {
    assert.equal((await me(forged(server, ann.token, { iat: now() - 960, exp: now() - 30 }))).status, 200);
    assert.equal((await me(forged(server, ann.token, { nbf: now() + 30 }))).status, 200);
  });

  test('N8 exp 61 s past is TOKEN_EXPIRED', async () => {
    isError(await me(forged(server, ann.token, { iat: now() - 1_000, exp: now() - 62 })), 401, 'TOKEN_EXPIRED');
  });

  test('an expired token with a wrong signature is UNAUTHORIZED, not TOKEN_EXPIRED', async () => {
    isError(await me(sign('x'.repeat(40), { ...decode(ann.token).claims, exp: now() - 500 })), 401, 'UNAUTHORIZED');
  });

  for (const [name, make] of [
    ['N8 nbf 61 s ahead', () => forged(server, ann.token, { nbf: now() + 75 })],
    ['N8 duplicate claims', () => { const { claims } = decode(ann.token); return sign(server.secret, JSON.stringify(claims).replace('{', '{"sub":"0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d",')); }],
    ['another key', () => sign('another-key-of-more-than-32-bytes-length', decode(ann.token).claims)],
    ['no signature', () => `${ann.token.split('.').slice(0, 2).join('.')}.`],
    ['alg none', () => forged(server, ann.token, {}, { alg: 'none' })],
    ['alg none without signature', () => `${forged(server, ann.token, {}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`],
    ['alg EdDSA on an HS256 signature', () => forged(server, ann.token, {}, { alg: 'EdDSA' })],
    ['alg HS512', () => {
      const body = forged(server, ann.token, {}, { alg: 'HS512' }).split('.').slice(0, 2).join('.');
      return `${body}.${createHmac('sha512', server.secret).update(body).digest('base64url')}`;
    }],
    ['typ JWT', () => forged(server, ann.token, {}, { typ: 'JWT' })],
    ['no typ', () => { const { claims } = decode(ann.token); return sign(server.secret, claims, { alg: 'HS256' }); }],
    ['another issuer', () => forged(server, ann.token, { iss: 'somebody' })],
    ['another audience', () => forged(server, ann.token, { aud: 'rt' })],
    ['no audience', () => forged(server, ann.token, { aud: undefined })],
    ['no exp', () => forged(server, ann.token, { exp: undefined })],
    ['exp as text', () => forged(server, ann.token, { exp: '9999999999' })],
    ['an exp beyond all numbers', () => { const { claims } = decode(ann.token); return sign(server.secret, JSON.stringify({ ...claims, exp: 0 }).replace('"exp":0', '"exp":1e400')); }],
    ['no subject', () => forged(server, ann.token, { sub: undefined })],
    ['a subject that is no id', () => forged(server, ann.token, { sub: "1' OR '1'='1" })],
    ['a session that never was', () => forged(server, ann.token, { sid: '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d' })],
    ['claims that are an array', () => sign(server.secret, '[]')],
    ['claims nested 5,000 levels deep', () => sign(server.secret, `${'['.repeat(1_000)}${']'.repeat(1_000)}`)],
    ['crit', () => forged(server, ann.token, {}, { crit: ['exp'], b64: false })],
  ]) {
    test(`${name}: 401`, async () => {
      isError(await me(make()), 401, 'UNAUTHORIZED');
    });
  }

  for (const [name, header] of [
    ['kid with a path', () => ({ kid: '../../key' })], ['kid with an address', (url) => ({ kid: `${url}key` })], ['jku', (url) => ({ jku: `${url}keys` })], ['x5u', (url) => ({ x5u: `${url}cert` })],
    ['jwk', () => ({ jwk: { kty: 'oct', k: Buffer.from(server.secret).toString('base64url') } })],
  ]) {
    test(`N7 ${name} in the header: 401, and nothing is fetched`, async () => {
      let asked = 0;
      const keys = createServer((_, response) => { asked += 1; response.end('{"keys":[]}'); });
      keys.on('connection', () => { asked += 1; });
      await new Promise((done) => keys.listen(0, '127.0.0.1', done));
      try {
        const url = `http://127.0.0.1:${keys.address().port}/`;
        isError(await me(forged(server, ann.token, {}, header(url))), 401, 'UNAUTHORIZED');
        // Signed by whom the header names, too.
        isError(await me(sign('another-key-of-more-than-32-bytes-length', decode(ann.token).claims, { alg: 'HS256', typ: 'at+jwt', ...header(url) })), 401, 'UNAUTHORIZED');
        assert.equal((await me(ann.token)).status, 200);
        assert.equal(asked, 0);
      } finally {
        keys.closeAllConnections();
        keys.close();
      }
    });
  }

  test('a lower token version than the account\'s is refused after logout-all', async () => {
    const bob = await person(server, 'bob');
    await bob.rest.post('/api/auth/logout-all', {});
    const again = await bob.login();
    const { claims } = decode(again.token);
    if (claims.ver > 0) assert.equal((await me(forged(server, again.token, { ver: claims.ver - 1 }))).status, 401);
  });
});
