// The Worker on workerd with a libsql server of its own, one of each for every start.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { Edge, bundle, healthy } from '../../../edge/cloudflare/local/edge.mjs';
import { freshDirectory, launch, printed } from '../process.mjs';
import { freshSecret, relaxed } from '../server.mjs';

/** The platform parses HTTP and closes idle connections itself, and pings are those of a host that hibernates. */
export const lacking = ['heartbeat', 'rawhttp', 'frames', 'silent'];

/** What must never be in a log: the runtime has thrown all objects of an isolate away. */
const PANIC = /Critical|Rust panic|panicked at|unreachable executed/;

/** Storage syncs: in memory it is ten times as fast, and a killed process loses nothing of it. */
const memory = existsSync('/dev/shm') ? '/dev/shm' : undefined;

/** Development switches of the Worker, for a whole run: `SLEEP=on` drops every object after every event. */
const switches = () => Object.fromEntries(['SLEEP', 'METER'].filter((name) => process.env[name]).map((name) => [name, process.env[name]]));

/** A running Worker and its storage. */
export class Workerd {
  constructor(options = {}) {
    const { env = {}, data = freshDirectory(memory), port, ...rest } = options;
    this.secret = env.JWT_SECRET;
    this.data = data;
    this.logs = '';
    this.ready = rest.ready ?? true;
    this.edge = new Edge({ data, port, launch, bundle, ...rest, variables: { ...relaxed, ...switches(), ...rest.bindings, ...env } });
  }

  /** Starts both processes; port and data stay the same over restarts. `change` replaces options: another `bundle`. */
  async start(change = {}) {
    Object.assign(this.edge.options, change);
    await this.edge.start().catch((error) => {
      error.message += `\n${this.output()}`;
      throw error;
    });
    this.baseUrl = this.edge.baseUrl;
    this.port = this.edge.port;
    if (this.ready) await healthy(this.baseUrl);
    return this;
  }

  /** What was printed in this life. */
  output() {
    return printed(this.edge.workerd) + printed(this.edge.sqld);
  }

  /** Everything that was ever printed, over all lives. */
  everything() {
    return this.logs + this.output();
  }

  alive() {
    const { workerd, sqld } = this.edge;
    return Boolean(workerd) && [workerd, sqld].every((process_) => !process_ || process_.exit === null);
  }

  async #end(signal) {
    const orderly = await this.edge.stop(signal);
    const exit = this.edge.workerd?.exit;
    this.logs += this.output();
    this.edge.workerd = this.edge.sqld = undefined;
    return { exit, orderly };
  }

  /** SIGTERM; resolves with workerd's `{code, signal}`. Nothing may have panicked in all lives. */
  async stop() {
    const { exit, orderly } = await this.#end('SIGTERM');
    const panic = this.everything().split('\n').find((line) => PANIC.test(line));
    assert.equal(panic, undefined, `a panic:\n${this.everything().slice(-4_000)}`);
    assert.ok(orderly, 'the database ended by SIGKILL only');
    return exit;
  }

  /** SIGKILL, as a crash. */
  async kill() {
    return (await this.#end('SIGKILL')).exit;
  }
}

/**
 * @param {{env?: Record<string, string>, bindings?: Record<string, string>, data?: string, port?: number, bundle?: string,
 *   assets?: string, ready?: boolean, objects?: object[], classes?: string[], withoutSql?: string[]}} [options]
 *   `env` and `bindings`: text bindings; `ready: false`: does not wait for a healthy answer; `objects`, `classes`: instead
 *   of wrangler.toml's
 * @returns {Promise<Workerd>}
 */
export function start(options = {}) {
  return new Workerd(options).start();
}
