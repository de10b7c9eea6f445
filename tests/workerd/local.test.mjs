// `cargo xtask cloudflare` without its build: one foreground process with two below it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freshDirectory, launch, printed } from '../support/process.mjs';

const script = fileURLToPath(new URL('../../edge/cloudflare/local/run.mjs', import.meta.url));
const READY = /^chatcall on workerd listening on (http:\/\/127\.0\.0\.1:\d+)$/m;

/** Pids of the processes below this one, by name. */
async function below(pid) {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,comm=']);
  const rows = stdout.trim().split('\n').map((line) => line.trim().split(/\s+/)).filter(([, parent]) => Number(parent) === pid);
  return Object.fromEntries(rows.map(([child, , name]) => [name.split('/').pop(), Number(child)]));
}

const lives = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Runs it until it is ready. */
async function start(data, env = {}) {
  const run = launch(process.execPath, [script, '--port', '0', '--data', data], { cwd: data, env });
  for (const end = Date.now() + 30_000; !READY.test(run.stdout); await sleep(20)) {
    assert.ok(run.exit === null && Date.now() < end, printed(run));
  }
  run.url = READY.exec(run.stdout)[1];
  run.children = await below(run.pid);
  return run;
}

async function register(url, name) {
  const body = JSON.stringify({ username: name, email: `${name}@chat.test`, password: `a long pass phrase of ${name}` });
  return fetch(`${url}/api/auth/register`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
}

describe('the Worker on this machine', { concurrency: 3 }, () => {
  test('keeps its data and its keys over restarts, and tells nobody the keys', async () => {
    const data = freshDirectory();
    const first = await start(data);
    const answer = await register(first.url, 'ada');
    assert.equal(answer.status, 201);
    const { accessToken } = await answer.json();
    first.child.kill('SIGTERM');
    assert.deepEqual(await first.exited, { code: 0, signal: null });

    const second = await start(data);
    const me = await fetch(`${second.url}/api/auth/me`, { headers: { authorization: `Bearer ${accessToken}` } });
    assert.equal(me.status, 200);
    assert.equal((await register(second.url, 'ada')).status, 409);
    second.child.kill('SIGINT');
    assert.deepEqual(await second.exited, { code: 0, signal: null });

    const path = join(data, 'secrets.json');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const config = readFileSync(join(data, 'workerd.capnp'), 'utf8');
    for (const value of Object.values(JSON.parse(readFileSync(path, 'utf8')))) {
      for (const text of [printed(first), printed(second), config]) assert.ok(!text.includes(value), 'a key was written down');
    }
  });

  test('leaves no process behind', async () => {
    const run = await start(freshDirectory());
    assert.deepEqual(Object.keys(run.children).sort(), ['sqld', 'workerd']);
    run.child.kill('SIGTERM');
    await run.exited;
    assert.deepEqual(Object.values(run.children).filter(lives), []);
  });

  for (const name of ['sqld', 'workerd']) {
    test(`says so and ends when ${name} dies`, async () => {
      const run = await start(freshDirectory());
      process.kill(run.children[name], 'SIGKILL');
      assert.deepEqual(await run.exited, { code: 1, signal: null });
      assert.match(run.stderr, new RegExp(`error: ${name} has ended`));
      assert.deepEqual(Object.values(run.children).filter(lives), []);
    });
  }

  test('passes settings on', async () => {
    const run = await start(freshDirectory(), { REGISTRATION: 'closed' });
    const { status } = await register(run.url, 'ada');
    run.child.kill('SIGTERM');
    await run.exited;
    assert.equal(status, 403);
  });

  test('a wrong argument is refused', async () => {
    for (const args of [['--port', 'x'], ['--port', '70000'], ['--what']]) {
      const run = launch(process.execPath, [script, ...args], { cwd: freshDirectory() });
      assert.deepEqual(await run.exited, { code: 1, signal: null });
      assert.match(run.stderr, /^error: /);
    }
  });
});
