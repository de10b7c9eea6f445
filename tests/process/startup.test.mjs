// Wrong settings and damaged data at start: one clear sentence and exit code 2; right ones start. V-01..V-36, N13, guarantees 4.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, direct, people, person, unique } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { freePort, freshDirectory, freshSecret, run, startServer } from '../support/server.mjs';
import { rewrite } from '../support/sqlite.mjs';

/** Runs until it ends, or for `ms`: then `exit` is null. */
async function outcome(args, options = {}, ms = 20_000) {
  const process_ = run(args, options);
  const exit = await Promise.race([process_.exited, sleep(ms, null, { ref: false })]);
  process_.child.kill('SIGKILL');
  await process_.exited;
  return { exit, stdout: process_.stdout, stderr: process_.stderr };
}

const on = (data) => ['up', '--port', '0', '--private-port', '0', '--data', data];

/** The process ends by itself with this code, and says one sentence that names what is wrong. */
async function refuses({ args = [], env = {}, cwd, code = 2, names = [] }) {
  const { exit, stdout, stderr } = await outcome([...on(freshDirectory()), ...args], { env, ...(cwd ? { cwd } : {}) });
  assert.ok(exit, `it started:\n${stdout}${stderr}`);
  assert.equal(exit.code, code, stderr);
  assert.doesNotMatch(stdout, /listening on/);
  const said = stderr.trim();
  assert.ok(said.length > 10, 'it says nothing');
  assert.doesNotMatch(said, /panicked|RUST_BACKTRACE|stack backtrace/);
  for (const name of names) assert.ok(said.includes(name), `${JSON.stringify(name)} is not named in: ${said}`);
  return said;
}

const sentence = (said) => assert.ok(said.split('\n').length <= 2 && said.length < 500, `not one sentence: ${said}`);

describe('refusals', { concurrency: 4 }, () => {
  const weak = {
    empty: '', short: 'k4Jd92-sQz', 'of 31 bytes': 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0x', 'of few different bytes': 'abcabcabcabcabcabcabcabcabcabcabcabcabcabc', 'a word of documentation': 'my-super-secret-jwt-key-for-signing-tokens-1234567890',
    changeme: 'changeme-changeme-changeme-0123456789-abcdef', 'a password': 'Password-qwertzuiop-asdfghjkl-0123456789', 'an example': 'this-is-an-EXAMPLE-key-0123456789-qwertz', your_: 'your_jwt_key_goes_here_0123456789_abcdefg', 'in brackets': '<insert-a-long-random-key-here-0123456789>',
    default: 'the-Default-signing-key-0123456789-qwertz',
  };
  for (const [name, secret] of Object.entries(weak)) {
    test(`N13 a JWT_SECRET that is ${name}`, async () => {
      const said = await refuses({ env: { JWT_SECRET: secret }, names: ['JWT_SECRET'] });
      sentence(said);
      if (secret.length > 6) assert.ok(!said.includes(secret), 'the secret itself is printed');
    });
  }

  test('N13 a weak JWT_REFRESH_SECRET', async () => {
    sentence(await refuses({ env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: 'changeme' }, names: ['JWT_REFRESH_SECRET'] }));
  });

  for (const [name, value] of [
    ['RATE_LIMITS', 'off'], ['BCRYPT_COST', '4'], ['BCRYPT_COST', '31'], ['CHATCALL_ENV', 'staging'], ['REGISTRATION', 'maybe'], ['JWT_EXPIRES_IN', 'soon'], ['JWT_REFRESH_EXPIRES_IN', '-7d'], ['GATEWAYS', '0'],
    ['ALLOWED_ORIGINS', '*'], ['MAX_TEXT_LENGTH', 'long'], ['CONVERSATION_POLICY', 'nobody'], ['EX_MEMBER_HISTORY', 'all'], ['JWT_PRIVATE_KEY', 'no key at all'],
  ]) {
    test(`${name}=${value} in production`, async () => {
      sentence(await refuses({ env: { [name]: value }, names: [name] }));
    });
  }

  for (const name of ['PORT', 'PRIVATE_PORT']) {
    test(`${name}=abc`, async () => {
      const { exit, stderr } = await outcome(['up', '--data', freshDirectory(), ...(name === 'PORT' ? [] : ['--port', '0'])], { env: { [name]: 'abc' } });
      assert.equal(exit.code, 2, stderr);
      assert.ok(stderr.includes(name), stderr);
    });
  }

  for (const [name, args, names] of [
    ['an unknown option', ['--colour', 'red'], ['--colour']], ['a port that is no number', ['--port', 'abc'], ['--port']], ['a port above 65535', ['--port', '70000'], ['--port']], ['an unknown role', ['--roles', 'edge,romms'], ['romms']],
    ['an option without value', ['--data'], ['--data']], ['a word too many', ['now'], ['now']],
  ]) {
    test(`${name}`, async () => {
      const base = args.includes('--port') || args.includes('--data') ? [] : ['--port', '0', '--data', freshDirectory()];
      const { exit, stderr } = await outcome(['up', ...base, ...args]);
      assert.equal(exit.code, 2, stderr);
      for (const word of names) assert.ok(stderr.includes(word), stderr);
    });
  }

  test('no command, and an unknown one', async () => {
    for (const args of [[], ['down']]) {
      const process_ = run(args);
      assert.equal((await process_.exited).code, 2);
      assert.match(process_.stderr, /usage/i);
    }
  });

  test('--conformance-port without development', async () => {
    sentence(await refuses({ args: ['--conformance-port', String(await freePort())], names: ['--conformance-port', 'CHATCALL_ENV=development'] }));
    sentence(await refuses({ args: ['--conformance-port', String(await freePort())], env: { CHATCALL_ENV: 'production' }, names: ['--conformance-port'] }));
  });

  test('a data directory that cannot be written is named', async () => {
    const file = join(freshDirectory(), 'a-file');
    writeFileSync(file, 'x');
    for (const data of [join(file, 'data'), '/proc/chatcall-data', file]) {
      const { exit, stderr } = await outcome(on(data));
      assert.equal(exit.code, 2, stderr);
      assert.ok(stderr.includes(data), stderr);
    }
  });

  test('a port that is taken is named', async () => {
    const port = await freePort();
    const taken = createServer().listen(port, '127.0.0.1');
    const { exit, stderr } = await outcome(['up', '--port', String(port), '--bind', '127.0.0.1', '--private-port', '0', '--data', freshDirectory()]);
    taken.close();
    assert.ok(exit.code > 0, `${JSON.stringify(exit)}`);
    assert.ok(stderr.includes(String(port)), stderr);
  });

  test('a line in .env that is none', async () => {
    const cwd = freshDirectory();
    writeFileSync(join(cwd, '.env'), 'CHATCALL_ENV=production\nREGISTRATION=perhaps\n');
    await refuses({ cwd, names: ['REGISTRATION'] });
  });
});

describe('data', { concurrency: 3 }, () => {
  const database = (data) => join(data, 'chatcall.db');

  test('a data directory of a newer schema is refused, and untouched', async () => {
    const server = await startServer();
    const ann = await person(server, 'ann');
    await server.stop();
    // A record of the migrations' table holds set and name side by side; a later number keeps the order of the rows.
    assert.ok(rewrite(database(server.data), 'people0002_projections', 'people0902_projections') > 0, 'the row of the migration was not found');
    const { exit, stderr } = await outcome(on(server.data));
    assert.equal(exit.code, 2, stderr);
    assert.match(stderr, /newer/);
    assert.ok(stderr.includes('0902_projections'), stderr);
    assert.ok(rewrite(database(server.data), 'people0902_projections', 'people0002_projections') > 0);
    await server.start();
    assert.equal((await ann.login()).id, ann.id);
    await server.stop();
  });

  test('a database that is damaged is refused, never served', async () => {
    const server = await startServer();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const client = await ann.connect({ transports: ['websocket'] });
    // Enough that the write-ahead log was moved into the file.
    for (let n = 0; n < 12; n += 1) {
      await Promise.all(Array.from({ length: 50 }, () => client.ok('chat:message', { conversationId: talk.id, content: 'x'.repeat(2_000), type: 'text', metadata: { pad: 'y'.repeat(8_000) } })));
    }
    client.close();
    await server.stop();
    const bytes = readFileSync(database(server.data));
    assert.ok(bytes.length > 1_000_000, `${bytes.length} bytes`);
    for (let at = 4_096; at < bytes.length; at += 1) bytes[at] = (at * 31) & 255;
    writeFileSync(database(server.data), bytes);
    const { exit, stderr } = await outcome(on(server.data));
    assert.ok(exit, 'it serves damaged data');
    assert.ok(exit.code > 0);
    assert.doesNotMatch(stderr, /panicked/);
  });

  test('a file that is no database is refused', async () => {
    const data = freshDirectory();
    writeFileSync(database(data), 'this is not a database, it only lies where one should be\n'.repeat(100));
    const { exit, stderr } = await outcome(on(data));
    assert.ok(exit.code > 0, stderr);
    assert.ok(stderr.includes('chatcall.db'), stderr);
    assert.match(readFileSync(database(data), 'utf8'), /^this is not a database/);
  });

  test('two processes never share a data directory', async () => {
    const server = await startServer();
    const { exit, stderr } = await outcome(on(server.data), {}, 8_000);
    assert.ok(exit, 'a second process started on the same data');
    assert.equal(exit.code, 2);
    assert.ok(stderr.includes(server.data), stderr);
    assert.ok(server.alive());
    await person(server, 'ann');
    await server.stop();
  });

  test('a start after kill -9 needs no help', async () => {
    const server = await startServer();
    await person(server, 'ann');
    await server.kill();
    const begun = Date.now();
    await server.start();
    assert.ok(Date.now() - begun < 5_000, `${Date.now() - begun} ms`);
    await person(server, 'bob');
    await server.stop();
  });

  test('secrets and data are the owner\'s alone', async () => {
    const server = await startServer();
    for (const name of readdirSync(server.data)) {
      if (/secret|\.db/.test(name)) assert.equal(statSync(join(server.data, name)).mode & 0o007, 0, `${name} can be read by everybody`);
    }
    await server.stop();
  });
});

describe('right settings', { concurrency: 3 }, () => {
  test('--help and --version end with 0 and say what there is', async () => {
    const help = run(['up', '--help']);
    assert.equal((await help.exited).code, 0);
    for (const word of ['--port', '--data', '--roles', '--conformance-port', '--private-port', 'JWT_SECRET', 'CHATCALL_ENV']) assert.ok(help.stdout.includes(word), word);
    const version = run(['--version']);
    assert.equal((await version.exited).code, 0);
    assert.match(version.stdout, /\d+\.\d+\.\d+/);
  });

  test('N4 production needs no settings at all: secrets are generated, common passwords refused', async () => {
    const server = await startServer({ env: { CHATCALL_ENV: 'production', RATE_LIMITS: 'on', BCRYPT_COST: '12' } }).catch((error) => error);
    // BCRYPT_COST is for tests only, whatever its value.
    if (!(server instanceof Error)) await server.stop();
    const data = freshDirectory();
    const process_ = run(['up', '--port', '0', '--private-port', '0', '--data', data]);
    for (const end = Date.now() + 60_000; !/listening on/.test(process_.stdout); await sleep(50)) assert.ok(Date.now() < end && !process_.exit, process_.stderr);
    const [, baseUrl] = /listening on (\S+)/.exec(process_.stdout);
    const rest = new Rest(baseUrl);
    const username = unique('prod');
    const fields = { username, email: `${username}@test.invalid`, password: 'password123' };
    const common = await rest.post('/api/auth/register', fields);
    assert.equal(common.body?.code, 'PASSWORD_TOO_COMMON', common.text);
    assert.equal(common.status, 400);
    for (const word of ['12345678', 'PASSWORD', 'Qwerty123']) {
      const answer = await rest.post('/api/auth/register', { ...fields, password: word });
      assert.deepEqual([answer.status, answer.body?.code], [400, 'PASSWORD_TOO_COMMON'], `${word} ${answer.text}`);
    }
    const begun = Date.now();
    const good = await rest.post('/api/auth/register', { ...fields, password: 'kTz81-plover-Quartz' });
    assert.equal(good.status, 201);
    assert.ok(Date.now() - begun > 60, 'bcrypt of cost 12 takes longer than that');
    assert.equal(decode(good.body.accessToken).header.alg, 'EdDSA');
    assert.equal(good.body.user.role, 'admin', 'the very first account');
    const files = readdirSync(data).filter((name) => name.includes('.db')).map((name) => readFileSync(join(data, name), 'latin1')).join('');
    assert.ok(files.includes('$2b$12$'), 'the hash is bcrypt of cost 12');
    assert.ok(!files.includes('kTz81-plover-Quartz'));
    assert.ok(!files.includes(good.body.refreshToken), 'refresh tokens are stored hashed');
    process_.child.kill('SIGTERM');
    assert.equal((await process_.exited).code, 0);
  });

  test('N13 development only warns about a weak secret', async () => {
    const server = await startServer({ env: { JWT_SECRET: 'changeme' } });
    await person(server, 'ann');
    assert.match(server.output(), /JWT_SECRET/);
    assert.ok(!server.output().includes('changeme'));
    await server.stop();
  });

  test('a .env file in the current directory is read, the environment wins', async () => {
    const data = freshDirectory();
    writeFileSync(join(data, '.env'), '# a comment\nJWT_EXPIRES_IN=5m\nREGISTRATION="closed"\n\n');
    const server = await startServer({ data, env: { REGISTRATION: 'open' } });
    const ann = await person(server, 'ann');
    const { claims } = decode(ann.token);
    assert.equal(claims.exp - claims.iat, 300);
    await server.stop();
  });

  test('REGISTRATION=closed', async () => {
    const data = freshDirectory();
    const first = await startServer({ data });
    await person(first, 'ann');
    await first.stop();
    const server = await startServer({ data, env: { REGISTRATION: 'closed' } });
    const username = unique('late');
    const answer = await new Rest(server.baseUrl).post('/api/auth/register', { username, email: `${username}@test.invalid`, password: 'kTz81-plover-Quartz' });
    assert.equal(answer.status, 403, answer.text);
    await server.stop();
  });

  test('settings of other products are ignored with one warning each, without their values', async () => {
    const canary = `canary-${freshSecret().slice(0, 12)}`;
    const server = await startServer({ env: { DB_HOST: canary, DB_PASSWORD: canary, MONGODB_URI: `mongodb://u:${canary}@h/db`, REDIS_HOST: canary, CLOUDINARY_URL: `cloudinary://${canary}` } });
    for (const name of ['DB_', 'MONGODB_URI', 'REDIS_HOST', 'CLOUDINARY_URL']) assert.ok(server.output().includes(name), name);
    assert.ok(!server.output().includes(canary));
    await server.stop();
  });

  test('the very first account is admin, the next is not', async () => {
    const server = await startServer();
    const [ann] = await people(server, 'ann');
    const bob = await person(server, 'bob');
    assert.equal((await ann.rest.get('/api/auth/me')).body.role, 'admin');
    assert.notEqual((await bob.rest.get('/api/auth/me')).body.role, 'admin');
    await server.stop();
  });

  test('the second start takes seconds at most', async () => {
    const server = await startServer();
    await server.stop();
    const begun = Date.now();
    await server.start();
    assert.ok(Date.now() - begun < 5_000, `${Date.now() - begun} ms`);
    assert.ok(existsSync(join(server.data, 'chatcall.db')));
    await server.stop();
  });
});
