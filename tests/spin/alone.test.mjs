// Spin without a room host: accounts in a database of its own, clear words for everything else. Bad configuration answers
// with the name of the setting.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startSpin } from '../support/hosts/spin.mjs';
import { person, unique } from '../support/people.mjs';
import { rawHttp, Rest } from '../support/rest.mjs';
import { freePort, freshDirectory, freshSecret } from '../support/server.mjs';
import { isError } from '../support/shapes.mjs';

const cheap = { chatcall_env: 'development', bcrypt_cost: '4', rate_limits: 'off' };
const secrets = () => ({ jwt_secret: freshSecret(), jwt_refresh_secret: freshSecret() });

/** Runs `work` against a stand-in of its own. */
async function on(variables, work, options) {
  const spin = await startSpin(variables, options);
  try {
    return await work(new Rest(spin.baseUrl), spin);
  } finally {
    await spin.stop();
  }
}

describe('alone', () => {
  let spin;
  const data = freshDirectory();
  const variables = { ...cheap, ...secrets() };
  before(async () => { spin = await startSpin(variables, { data }); });
  after(() => spin?.stop());

  test('twenty first requests at once find the schema', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => new Rest(spin.baseUrl).post('/api/auth/login', { email: 'nobody@test.invalid', password: 'not the password' })));
    answers.forEach((answer) => isError(answer, 401, 'UNAUTHORIZED'));
  });

  test('accounts: register, sign in, refresh, end', async () => {
    const ann = await person(spin, 'ann');
    assert.equal((await ann.rest.get('/api/auth/me')).body.id, ann.id);
    const other = await ann.login();
    assert.equal((await ann.rest.post('/api/auth/refresh', { refreshToken: ann.refreshToken })).status, 200);
    assert.equal((await other.rest.post('/api/auth/logout', {})).status, 204);
    isError(await other.rest.get('/api/auth/me'), 401, 'UNAUTHORIZED');
    assert.equal((await ann.rest.post('/api/auth/logout-all', {})).status, 204);
    isError(await ann.rest.get('/api/auth/me'), 401, 'UNAUTHORIZED');
  });

  test('twenty people at once take one name: one gets it', async () => {
    const username = unique('race');
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => new Rest(spin.baseUrl).post('/api/auth/register', { username, email: `${username}${n}@test.invalid`, password: 'plain words in a row' })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(19).fill(409)]);
  });

  for (const [method, path] of [['GET', '/api/chats/conversations'], ['POST', '/api/chats/conversations'], ['POST', '/api/users/contacts/0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d'], ['GET', '/socket.io/?EIO=4&transport=polling'], ['POST', '/socket.io/?EIO=4&transport=polling&sid=0.x']]) {
    test(`${method} ${path} is 503 and names room_host_key`, async () => {
      const answer = await new Rest(spin.baseUrl).request(method, path, method === 'POST' ? {} : undefined);
      isError(answer, 503, 'NODE_UNAVAILABLE');
      assert.match(answer.body.error, /room_host_key/);
    });
  }

  test('health is well, info has neither sockets nor features', async () => {
    const rest = new Rest(spin.baseUrl);
    assert.equal((await rest.get('/api/health')).body.status, 'ok');
    const info = (await rest.get('/api/info')).body;
    assert.deepEqual([info.socketUrl, info.features], [null, []]);
  });

  test('accounts survive a restart', async () => {
    const ann = await person(spin, 'ann');
    await spin.stop();
    spin = await startSpin(variables, { data });
    ann.server = spin;
    await ann.login();
  });

  test('every full body has its length', async () => {
    const { host } = new URL(spin.baseUrl);
    for (const path of ['/', '/api/info', '/api/health', '/api/auth/me', '/api/nothing', '/socket.io/?EIO=4&transport=polling']) {
      const text = await rawHttp(spin.baseUrl, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      assert.match(text, /\r\ncontent-length: \d+\r\n/i, path);
      assert.doesNotMatch(text, /transfer-encoding/i, path);
    }
  });
});

describe('bad configuration', { concurrency: 2 }, () => {
  const good = secrets();
  const key = freshSecret();
  const everything = ['/api/health', '/api/auth/me', '/api/chats/conversations', '/api/v1/users', '/api/messages/x', '/api/info', '/'];
  for (const [name, variables, word, paths = everything] of [
    ['no signing key', { jwt_refresh_secret: good.jwt_refresh_secret }, /jwt_secret/],
    ['no refresh secret', { jwt_secret: good.jwt_secret }, /jwt_refresh_secret/],
    ['N13 a weak signing key', { ...good, jwt_secret: 'short' }, /jwt_secret is refused/],
    ['a private key that is none', { ...good, jwt_private_key: 'x' }, /jwt_private_key/],
    ['N13 a documented refresh secret', { ...good, jwt_refresh_secret: 'my-super-secret-key-0123456789abcdefgh' }, /jwt_refresh_secret is refused/],
    ['a weak key of the room host', { ...good, room_host_key: 'short' }, /room_host_key is refused/],
    ['people at a room host that is not named', { ...good, people_database: 'host' }, /room_host_key/],
    ['an address that is none', { ...good, room_host_key: key, room_host_url: 'rooms.example' }, /room_host_url/],
    ['rates off in production', { ...good, rate_limits: 'off' }, /rate_limits=off.*chatcall_env=development/],
    ['a word that is none', { ...good, registration: 'maybe' }, /registration/],
    ['a room host that is not there', { ...good, room_host_key: key, room_host_url: 'http://127.0.0.1:1' }, /room_host_url/, ['/socket.io/?EIO=4&transport=polling', '/socket.io/?EIO=4&transport=polling&sid=0.x']],
  ]) {
    test(`${name}: 503 with the name, one line in the log, no trap`, async () => {
      await on(variables, async (rest, spin) => {
        for (const path of paths) {
          const answer = await rest.get(path, { authorization: 'Bearer a.b.c' });
          assert.equal(answer.status, 503, `${path} ${answer.text}`);
          assert.match(answer.text, word, path);
        }
        await spin.stop(); // all of the log is there
        assert.doesNotMatch(spin.stderr, /trap|panicked|wasm backtrace/);
        assert.equal(spin.stderr.split('\n').filter((line) => word.test(line)).length, 1, spin.stderr);
        for (const secret of Object.values(variables).filter((value) => value.length > 20 && !value.startsWith('http'))) assert.ok(!spin.stderr.includes(secret));
      });
    });
  }

  test('shapes follow the prefix', async () => {
    await on({}, async (rest) => {
      isError(await rest.get('/api/v1/users'), 503, 'NODE_UNAVAILABLE', { shape: 'samwaad' });
      isError(await rest.get('/api/messages/x'), 503, 'NODE_UNAVAILABLE', { shape: 'meet' });
      isError(await rest.get('/api/info'), 503, 'NODE_UNAVAILABLE', { shape: 'django' });
    });
  });

  test('development takes a weak secret and tells', async () => {
    await on({ ...cheap, jwt_secret: 'short', jwt_refresh_secret: freshSecret() }, async (rest, spin) => {
      assert.equal((await rest.get('/api/health')).status, 200);
      await spin.stop();
      assert.match(spin.stderr, /jwt_secret would be refused outside development/);
    });
  });

  test('a room host that is gone: health says so, requests name the setting', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    await on({ ...cheap, ...good, room_host_key: key, room_host_url: url }, async (rest) => {
      const health = await rest.get('/api/health');
      assert.deepEqual([health.status, health.body], [503, { status: 'degraded', reason: 'room_host_unreachable' }]);
      const login = await rest.post('/api/auth/login', { email: 'a@test.invalid', password: 'not the password' });
      isError(login, 503, 'NODE_UNAVAILABLE');
      assert.match(login.body.error, /room_host_url/);
    });
  });

  test('something else at the address, and something that never answers', async () => {
    const other = createServer((_, response) => response.end('ok'));
    const silent = createServer(() => {});
    for (const server of [other, silent]) await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const at = (server) => ({ ...cheap, ...good, room_host_key: key, room_host_url: `http://127.0.0.1:${server.address().port}` });
    try {
      await on(at(other), async (rest) => {
        assert.match((await rest.post('/api/auth/login', { email: 'a@test.invalid', password: 'not the password' })).body.error, /no room host/);
      });
      await on(at(silent), async (rest) => {
        const answer = await rest.post('/api/auth/login', { email: 'a@test.invalid', password: 'not the password' });
        isError(answer, 503, 'NODE_UNAVAILABLE');
        assert.match(answer.body.error, /does not answer in time/);
      });
    } finally {
      for (const server of [other, silent]) { server.closeAllConnections(); server.close(); }
    }
  });
});
