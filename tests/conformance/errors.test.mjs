// Errors by prefix, methods, bodies, origins, and the small public pages. 2.1, R-13, R-33, R-34, N17, N29.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { person, unique } from '../support/people.mjs';
import { rawHttp, Rest, statuses } from '../support/rest.mjs';
import { isError, isTime } from '../support/shapes.mjs';
import { external, needs, target } from '../support/target.mjs';

const ORIGIN = 'https://chat.allowed.example';
let server;
let rest;
let ann;
before(async () => {
  server = await target({ env: { ALLOWED_ORIGINS: ORIGIN } });
  rest = new Rest(server.baseUrl);
  ann = await person(server, 'ann');
});
after(() => server?.stop());

describe('C-28 shapes', () => {
  const paths = [
    ['/api/nothing', 'chatcall'], ['/api/auth/nothing', 'chatcall'], ['/api/chats/nothing', 'chatcall'], ['/api/chatter', 'chatcall'], ['/api/v10/x', 'chatcall'], ['/api/messagesx', 'chatcall'], ['/api/healthy', 'chatcall'], ['/api', 'chatcall'],
    ['/api/v1/nothing', 'samwaad'], ['/api/v1', 'samwaad'], ['/api/messages/a/b/c/d', 'meet'], ['/api/chat/nothing', 'django'], ['/api/calls/x/y/z', 'django'], ['/api/info/nothing', 'django'],
  ];
  for (const [path, shape] of paths) {
    test(`C-28 an unknown path: ${path} in the ${shape} shape`, async () => {
      isError(await ann.rest.get(path), 404, 'NOT_FOUND', { shape });
    });
  }

  for (const [method, path, shape] of [
    ['PUT', '/api/auth/login', 'chatcall'], ['GET', '/api/auth/login', 'chatcall'], ['DELETE', '/api/auth/me', 'chatcall'], ['GET', '/api/auth/register', 'chatcall'], ['PATCH', '/api/chats/conversations', 'chatcall'], ['DELETE', '/api/health', 'chatcall'],
    ['POST', '/api/info', 'django'], ['DELETE', '/api/info', 'django'],
  ]) {
    test(`2.3 ${method} ${path} is 405 in the ${shape} shape`, async () => {
      isError(await ann.rest.request(method, path), 405, 'METHOD_NOT_ALLOWED', { shape });
    });
  }
});

describe('bodies', () => {
  const login = (body, headers) => rest.post('/api/auth/login', body, headers);

  for (const [name, body] of [
    ['nothing', ''], ['no JSON', 'email=a&password=b'], ['half of it', '{"email":"a'], ['an array', '[]'], ['a string', '"x"'], ['null', 'null'], ['a number', '1'], ['two values', '{} {}'], ['JSON nested 10,000 levels deep', `{"email":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
    ['objects nested 50,000 levels deep', '{"a":'.repeat(50_000)], ['NUL bytes', '\u0000\u0000'], ['UTF-16', Buffer.from('{"email":"a"}', 'utf16le')], ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ]) {
    test(`${name}: 400 INVALID_DATA`, async () => {
      isError(await login(body), 400, 'INVALID_DATA');
    });
  }

  test('3.2 a body over 256 KiB is 413 with the limit', async () => {
    const answer = await login({ email: 'a@test.invalid', password: 'p'.repeat(300_000) });
    isError(answer, 413, 'PAYLOAD_TOO_LARGE');
    assert.equal(answer.body.limit, 262_144);
  });

  test('3.2 so is one that only announces it, and one in chunks', needs('rawhttp'), async () => {
    const { host } = new URL(server.baseUrl);
    const announced = await rawHttp(server.baseUrl, `POST /api/auth/login HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{`, 2_000);
    assert.deepEqual(statuses(announced), [413]);
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
    const chunked = await rawHttp(server.baseUrl, `POST /api/auth/login HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(6)}0\r\n\r\n`, 2_000);
    assert.deepEqual(statuses(chunked), [413]);
  });

  test('unknown fields are ignored', async () => {
    const answer = await login({ email: ann.email, password: ann.password, more: { a: 1 }, __proto__: { x: 1 } });
    assert.equal(answer.status, 200);
  });

  test('a member named twice does not split minds', async () => {
    const answer = await login(`{"email":"${ann.email}","email":"nobody@test.invalid","password":"${ann.password}"}`);
    assert.ok([200, 400, 401].includes(answer.status));
  });
});

describe('paths', () => {
  for (const path of ['/api/chats/conversations/%00/messages', '/api/chats/conversations/%ff%fe/messages', '/api//auth//me', `/api/chats/conversations/${'a'.repeat(6_000)}/messages`, '/api/users/contacts/%F0%28%8C%28']) {
    test(`${path.slice(0, 60)} is an ordinary error`, async () => {
      const answer = await ann.rest.request(path.includes('contacts') ? 'POST' : 'GET', path);
      assert.ok([400, 404, 405, 414].includes(answer.status), `${answer.status} ${answer.text.slice(0, 200)}`);
      assert.doesNotMatch(answer.text, /root:|panick|\.rs/);
    });
  }
});

test('paths that climb give away nothing', needs('rawhttp'), async () => {
  const { host } = new URL(server.baseUrl);
  for (const path of ['/../../../../etc/passwd', '/api/../../etc/passwd', '/%2e%2e/%2e%2e/%2e%2e/etc/passwd', '/..%2f..%2f..%2fetc/passwd', '//etc/passwd', '/assets/../../../../../etc/passwd']) {
    const text = await rawHttp(server.baseUrl, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, 2_000);
    assert.match(text, /^HTTP\/1\.1 (200|4\d\d) /);
    assert.doesNotMatch(text, /root:/);
  }
});

describe('N17 origins on REST', external ? { skip: 'the allowed origins of this host are not known here' } : {}, () => {
  for (const origin of ['https://evil.example', 'null', `${ORIGIN}.evil.example`, 'http://chat.allowed.example', 'https://xchat.allowed.example']) {
    test(`N17 ${origin} gets no permission`, async () => {
      for (const method of ['GET', 'OPTIONS']) {
        const answer = await rest.request(method, '/api/info', undefined, { origin, 'access-control-request-method': 'GET' });
        assert.equal(answer.headers.get('access-control-allow-origin'), null);
      }
    });
  }

  test('V-18 an allowed origin gets it, by name, for what the client sends', async () => {
    const answer = await rest.get('/api/info', { origin: ORIGIN });
    assert.equal(answer.headers.get('access-control-allow-origin'), ORIGIN);
    assert.match(answer.headers.get('vary') ?? '', /origin/i);
    const preflight = await rest.request('OPTIONS', '/api/auth/me', undefined, { origin: ORIGIN, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization,content-type' });
    assert.ok([200, 204].includes(preflight.status));
    assert.equal(preflight.headers.get('access-control-allow-origin'), ORIGIN);
    assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /authorization/i);
    assert.match(preflight.headers.get('access-control-allow-methods') ?? '', /GET/);
  });

  test('errors carry the permission too, so that programs can read them', async () => {
    const answer = await rest.get('/api/auth/me', { origin: ORIGIN });
    assert.equal(answer.status, 401);
    assert.equal(answer.headers.get('access-control-allow-origin'), ORIGIN);
  });

  test('pages of paged lists can be read from other origins', async () => {
    const answer = await ann.rest.get('/api/chats/conversations', { origin: ORIGIN });
    assert.match(answer.headers.get('access-control-expose-headers') ?? '', /x-next-before/i);
  });
});

describe('public pages', () => {
  test('R-13 health shows strangers only the status', async () => {
    const answer = await rest.get('/api/health');
    assert.equal(answer.status, 200);
    assert.deepEqual(Object.keys(answer.body).sort(), ['status', 'timestamp']);
    assert.equal(answer.body.status, 'ok');
    isTime(answer.body.timestamp);
  });

  test('R-33 info', async () => {
    const answer = await rest.get('/api/info');
    assert.equal(answer.status, 200);
    assert.deepEqual(Object.keys(answer.body).sort(), ['dialects', 'features', 'name', 'socketUrl', 'version']);
    assert.equal(answer.body.name, 'ChatCall');
    assert.match(answer.body.version, /^\d+\.\d+\.\d+/);
    assert.ok(answer.body.dialects.includes('chatcall'));
    assert.ok(Array.isArray(answer.body.features));
    assert.ok(answer.body.socketUrl === null || /^https?:/.test(answer.body.socketUrl));
  });

  test('R-34 a page, also for unknown paths outside the interface', async () => {
    const index = await rest.get('/');
    assert.equal(index.status, 200);
    assert.match(index.headers.get('content-type'), /^text\/html/);
    for (const path of ['/login', '/chat/0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d', `/${unique('x')}`]) {
      const answer = await rest.get(path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.text, index.text);
    }
  });

  test('section 9: headers of pages and of JSON', async () => {
    for (const path of ['/', '/api/info', '/api/auth/me']) {
      const { headers } = await rest.get(path);
      assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
      assert.ok(headers.get('referrer-policy'), path);
    }
    const policy = (await rest.get('/')).headers.get('content-security-policy') ?? '';
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe-inline[^;]*;?[^;]*script|script-src[^;]*unsafe-inline/);
  });

  test('answers that carry tokens are not kept by caches', async () => {
    const answer = await rest.post('/api/auth/login', { email: ann.email, password: ann.password });
    assert.match(answer.headers.get('cache-control') ?? '', /no-store/);
  });
});
