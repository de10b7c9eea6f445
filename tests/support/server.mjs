// Starts and stops the product's binary as a real process. Nothing here knows what the product does.
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freshDirectory, launch, printed } from './process.mjs';

export { freshDirectory };

const READY_MS = 60_000;

/** The binary under test: `CHATCALL_BIN`, or the release build of this checkout. */
export const binary = process.env.CHATCALL_BIN
  ? resolve(process.env.CHATCALL_BIN)
  : fileURLToPath(new URL('../../target/release/chatcall', import.meta.url));

/** A signing secret that passes the product's own start-up checks. */
export const freshSecret = () => randomBytes(48).toString('base64url').replace(/[-_]/g, 'k');

/** What most suites run with: no rates, cheap hashing. */
export const relaxed = { CHATCALL_ENV: 'development', RATE_LIMITS: 'off', BCRYPT_COST: '4' };

/** Machine code of the component, compiled once for all servers of all suites. */
const cache = process.env.CHATCALL_CACHE ?? join(dirname(binary), 'chatcall-cache');

/** A TCP port of the loopback interface that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Waits until something accepts connections at `port`. */
export async function accepting(port, ms = 10_000) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const open = await new Promise((done) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => { socket.destroy(); done(true); });
      socket.once('error', () => done(false));
    });
    if (open) return;
    if (Date.now() > end) throw new Error(`nothing accepts connections at port ${port}`);
  }
}

/**
 * Runs the binary without waiting for anything.
 * @param {string[]} args
 * @param {{env?: Record<string, string>, cwd?: string, program?: string}} [options] `program` instead of the product
 */
export function run(args, { env = {}, cwd = freshDirectory(), program = binary } = {}) {
  if (!existsSync(program)) throw new Error(`no binary at ${program}: build it first, or set CHATCALL_BIN`);
  return launch(program, args, { cwd, env: { CHATCALL_CACHE: cache, ...env } });
}

/** One start of a new binary compiles its component; the others wait for it. Answers what to call after the start. */
async function compiledOnce() {
  const { mtimeMs, size } = statSync(binary);
  const done = join(cache, `compiled-${size}-${Math.floor(mtimeMs)}`);
  const lock = `${done}.lock`;
  mkdirSync(cache, { recursive: true });
  chmodSync(cache, 0o700); // else the host does not trust it
  for (const end = Date.now() + READY_MS; !existsSync(done) && Date.now() < end; await sleep(50)) {
    try {
      mkdirSync(lock);
      return (worked) => {
        if (worked) writeFileSync(done, '');
        rmSync(lock, { recursive: true, force: true });
      };
    } catch {
      const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
      if (since && Date.now() - since > READY_MS) rmSync(lock, { recursive: true, force: true });
    }
  }
  return () => {};
}

/** Waits until the process has printed a line; the match of it. */
export function announced(process_, line, ms = READY_MS) {
  const { child } = process_;
  const output = () => `${process_.stdout}${process_.stderr}`;
  return new Promise((done, fail) => {
    const late = setTimeout(() => { child.kill('SIGKILL'); fail(new Error(`not ready after ${ms} ms\n${output()}`)); }, ms);
    const look = () => {
      const match = line.exec(process_.stdout);
      if (!match) return;
      clearTimeout(late);
      child.stdout.off('data', look);
      done(match);
    };
    child.stdout.on('data', look);
    process_.exited.then((exit) => { clearTimeout(late); fail(new Error(`ended before it was ready: ${JSON.stringify(exit)}\n${output()}`)); });
  });
}

/** Ends a process; resolves with `{code, signal}`. */
export async function end(process_, signal = 'SIGTERM', ms = 15_000) {
  const { child, exited } = process_;
  if (process_.exit) return process_.exit;
  child.kill(signal);
  const late = sleep(ms, 'late', { ref: false });
  if ((await Promise.race([exited, late])) === 'late') {
    child.kill('SIGKILL');
    await exited;
    throw new Error(`still alive ${ms} ms after ${signal}\n${process_.stderr.slice(-1_500)}`);
  }
  return process_.exit;
}

/** A running server and its files. */
export class Server {
  constructor(options) {
    this.options = options;
    this.data = options.data ?? freshDirectory();
    this.port = options.port ?? 0;
    this.secret = options.env?.JWT_SECRET;
    this.logs = '';
  }

  /** Starts the process and waits for its line; the port stays the same over restarts. */
  async start() {
    const { args = [], env = {}, conformance, privatePort = 0 } = this.options;
    const started = await compiledOnce();
    try {
      await this.#launch(args, env, conformance, privatePort);
    } finally {
      started(Boolean(this.baseUrl));
    }
    if (conformance) {
      await accepting(this.conformancePort);
      this.conformanceUrl = `http://127.0.0.1:${this.conformancePort}`;
    }
    return this;
  }

  async #launch(args, env, conformance, privatePort) {
    const more = ['--private-port', String(privatePort)];
    if (conformance) {
      this.conformancePort ??= await freePort();
      more.push('--conformance-port', String(this.conformancePort));
    }
    this.process = run(['up', '--port', String(this.port), '--data', this.data, ...more, ...args], { env: { ...relaxed, ...env }, cwd: this.data });
    const [, url, port] = await announced(this.process, /^chatcall listening on (http:\/\/127\.0\.0\.1:(\d+))\s*$/m);
    this.baseUrl = url;
    this.port = Number(port);
  }

  output() {
    return printed(this.process);
  }

  /** Everything that was ever printed, over all lives. */
  everything() {
    return this.logs + this.output();
  }

  alive() {
    return this.process.exit === null;
  }

  async #ended(signal, ms) {
    const exit = await end(this.process, signal, ms);
    this.logs += this.output();
    this.process.stdout = '';
    this.process.stderr = '';
    return exit;
  }

  /** SIGTERM; resolves with `{code, signal}`. */
  async stop(ms = 15_000) {
    if (!this.process || this.process.exit) return this.process?.exit;
    return this.#ended('SIGTERM', ms);
  }

  /** SIGKILL, as a crash. */
  async kill() {
    if (this.process.exit) return this.process.exit;
    return this.#ended('SIGKILL', 5_000);
  }
}

/**
 * @param {{args?: string[], env?: Record<string, string>, data?: string, port?: number, conformance?: boolean, privatePort?: number}} [options]
 * @returns {Promise<Server>}
 */
export function startServer(options = {}) {
  return new Server(options).start();
}
