// A deployment that misses something says so: in the first answer and in the log, by the name of the setting.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VARIABLES } from '../../edge/cloudflare/local/edge.mjs';
import { deployment } from '../../edge/cloudflare/local/config.mjs';
import { start } from '../support/hosts/workerd.mjs';
import { openSocket } from '../support/raw.mjs';
import { freePort, freshSecret } from '../support/server.mjs';

const secrets = () => ({ JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() });
const production = { CHATCALL_ENV: 'production', RATE_LIMITS: undefined, BCRYPT_COST: undefined };
const source = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** Runs `work` on a Worker with these options, and ends it; a panic fails the test. */
async function on(options, work) {
  const worker = await start({ ready: false, ...options, env: { ...secrets(), ...options.env } });
  try {
    await work(worker);
  } finally {
    await worker.stop();
  }
}

/** The first answer is 503 in the shape of its path and says `sentence`, and so does the log. */
async function saysSo(worker, sentence, path = '/api/info') {
  const answer = await fetch(worker.baseUrl + path);
  const text = await answer.text();
  assert.equal(answer.status, 503, text);
  assert.match(JSON.parse(text).error, sentence);
  // The log may come a moment behind the answer.
  for (const end = Date.now() + 5_000; !sentence.test(worker.output()) && Date.now() < end;) await sleep(20);
  assert.match(worker.output(), sentence);
}

describe('what is missing is named', { concurrency: 4 }, () => {
  for (const { name } of deployment().objects) {
    test(`the binding ${name}`, () => on({ objects: deployment().objects.filter((object) => object.name !== name) }, (worker) =>
      saysSo(worker, new RegExp(`${name} is not bound`))));
  }

  for (const [title, env, sentence] of [
    ['a key for tokens', { JWT_SECRET: undefined }, /JWT_PRIVATE_KEY \(or JWT_SECRET\) is not set/],
    ['a key for refresh tokens', { JWT_REFRESH_SECRET: undefined }, /JWT_REFRESH_SECRET is not set/],
    ['a database', { LIBSQL_URL: '' }, /LIBSQL_URL is not set/],
    ['a database over HTTP', { LIBSQL_URL: 'file:chatcall.db' }, /LIBSQL_URL takes/],
    ['N13 a strong secret', { ...production, JWT_SECRET: 'secret' }, /JWT_SECRET is refused/],
    ['N13 a strong refresh secret', { ...production, JWT_REFRESH_SECRET: 'a'.repeat(64) }, /JWT_REFRESH_SECRET is refused/],
    ['a private key that is one', { JWT_PRIVATE_KEY: 'nonsense' }, /JWT_PRIVATE_KEY is no Ed25519 key/],
    ['a known environment', { CHATCALL_ENV: 'staging' }, /CHATCALL_ENV is `staging`/],
    ['a number of gateways', { GATEWAYS: '0' }, /GATEWAYS is `0`/],
    ['rates in production', { ...production, RATE_LIMITS: 'off' }, /RATE_LIMITS=off is for tests/],
  ]) {
    test(title, () => on({ env }, async (worker) => {
      await saysSo(worker, sentence);
      const sockets = await fetch(`${worker.baseUrl}/socket.io/?EIO=4&transport=polling`);
      assert.equal(sockets.status, 503);
      for (const value of Object.values(env).filter((value) => value?.length > 20)) assert.ok(!worker.output().includes(value), 'a secret is in the log');
    }));
  }

  test('a database that answers', async () => on({ env: { LIBSQL_URL: `http://127.0.0.1:${await freePort()}` } }, async (worker) => {
    await saysSo(worker, /LIBSQL_URL/, '/api/auth/me');
    const health = await fetch(`${worker.baseUrl}/api/health`);
    assert.deepEqual([health.status, await health.json()], [503, { status: 'degraded', reason: 'storage_unavailable' }]);
    assert.equal((await fetch(worker.baseUrl)).status, 200, 'a page needs no database');
  }));

  test('a database that is not newer than the code', async () => {
    const worker = await start({ env: secrets() });
    const sql = "INSERT INTO host_migrations (set_name, name) VALUES ('people', '9999_later')";
    const requests = [{ type: 'execute', stmt: { sql } }, { type: 'close' }];
    const answer = await fetch(`http://127.0.0.1:${worker.edge.peoplePort}/v2/pipeline`, { method: 'POST', body: JSON.stringify({ requests }) });
    assert.equal((await answer.json()).results[0].type, 'ok');
    await worker.stop();
    worker.ready = false;
    await worker.start();
    await saysSo(worker, /newer version/);
    await worker.stop();
  });

  test('a class in the list of those with storage', async () => {
    await assert.rejects(start({ env: secrets(), classes: ['Gateway', 'Room'] }), /User/);
  });

  test('storage of a class', () => on({ withoutSql: ['Gateway'] }, async (worker) => {
    const answer = await fetch(`${worker.baseUrl}/socket.io/?EIO=4&transport=polling`);
    assert.equal(answer.status, 503, await answer.text());
    assert.match(worker.output(), /SQL is not enabled.*new_sqlite_classes/);
  }));
});

describe('who speaks to objects', () => {
  test('nobody outside may look like an object', () => on({}, async (worker) => {
    const body = JSON.stringify({ from: { kind: 'http', name: '1' }, call: 1, msg: 'Ping' });
    const headers = { 'x-chatcall-object': '1' };
    for (const path of ['/socket.io/?EIO=4&transport=polling', '/socket.io/', '/room/x', '/api/health', '/', '/gateway/gw-0']) {
      for (const options of [{ headers }, { method: 'POST', headers, body }]) {
        const answer = await fetch(worker.baseUrl + path, options);
        assert.equal(answer.status, 404, `${options.method ?? 'GET'} ${path}`);
        assert.equal(await answer.text(), '');
      }
    }
    await assert.rejects(openSocket(worker.baseUrl, '/socket.io/', { headers }));
  }));

  test('names that no object has are answered like others that are wrong', () => on({}, async (worker) => {
    for (const sid of ['99.AAAAAAAAAAAAAAAAAAAAAA', '4294967296.AAAAAAAAAAAAAAAAAAAAAA', '-1.x', 'x', '.', '0.', '../room/x', '%00', 'a'.repeat(3_000)]) {
      const answer = await fetch(`${worker.baseUrl}/socket.io/?EIO=4&transport=polling&sid=${encodeURIComponent(sid)}`);
      assert.deepEqual([answer.status, (await answer.json()).code], [400, 1], sid);
    }
    assert.equal((await fetch(`${worker.baseUrl}/api/info`)).status, 200);
  }));
});

describe('the list of variables', () => {
  test('everything that is read can be set on this machine', () => {
    const code = source('edge/core/src/settings/variables.rs') + source('edge/cloudflare/src/config.rs') + source('edge/cloudflare/src/hrana.rs');
    const read = [...code.matchAll(/(?:get|raw|number|word|duration_ms|secret|variable)\((?:vars, |env, )?"([A-Z][A-Z_]+)"/g)].map(([, name]) => name);
    assert.ok(read.length > 12, 'the pattern finds them');
    assert.deepEqual([...new Set(read)].filter((name) => !VARIABLES.includes(name)), []);
  });

  test('objects are bound to classes with storage', () => {
    const { objects, classes } = deployment();
    assert.deepEqual(objects.map(({ className }) => className).sort(), [...classes].sort());
  });
});
