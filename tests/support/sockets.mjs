// Unmodified socket.io-client with a memory: everything that arrives is kept in order and can be waited for.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { atEnd } from './cleanup.mjs';
import { has } from './target.mjs';

/** The ways a stock client may come. */
export const TRANSPORTS = {
  'polling first': {},
  'websocket only': { transports: ['websocket'] },
  'polling only': { transports: ['polling'] },
};

/** One transport from beginning to end, the best that the host under test has. */
export const straight = { transports: [has('websocket') ? 'websocket' : 'polling'] };

/** What a client may send at once: one polling body holds 64 packets. */
export const BURST = has('websocket') ? 100 : 30;

const WAIT_MS = 10_000;

export class Client {
  constructor(url, options = {}) {
    /** @type {{name: string, args: any[], payload: any, at: number}[]} */
    this.events = [];
    this.waiting = new Set();
    this.socket = io(url, { forceNew: true, reconnection: false, timeout: 10_000, ...options, autoConnect: false });
    this.connects = 0;
    atEnd(() => this.close());
    this.socket.onAny((name, ...args) => this.#push(name, args));
    this.socket.on('connect', () => { this.connects += 1; this.#push('$connect', [this.socket.id]); });
    this.socket.on('connect_error', (error) => this.#push('$connect_error', [error]));
    this.socket.on('disconnect', (reason, details) => this.#push('$disconnect', [reason, details]));
  }

  #push(name, args) {
    const event = { name, args, payload: args[0], at: Date.now() };
    this.events.push(event);
    for (const waiter of this.waiting) {
      if (waiter.matches(event)) { this.waiting.delete(waiter); waiter.done(event); }
    }
  }

  /** Events of this name so far. */
  all(name, matches = () => true) {
    return this.events.filter((event) => event.name === name && matches(event.payload)).map(({ payload }) => payload);
  }

  /** The first event of this name (and content) since `from`, now or later. */
  async next(name, matches = () => true, { ms = WAIT_MS, from = 0 } = {}) {
    const wanted = (event) => event.name === name && matches(event.payload);
    const known = this.events.slice(from).find(wanted);
    if (known) return known.payload;
    return new Promise((done, fail) => {
      const waiter = { matches: wanted, done: (event) => { clearTimeout(late); done(event.payload); } };
      const late = setTimeout(() => {
        this.waiting.delete(waiter);
        const seen = this.events.slice(-12).map((event) => `${event.name} ${JSON.stringify(event.payload)?.slice(0, 160)}`).join('\n  ');
        fail(new Error(`no ${name} within ${ms} ms; last events:\n  ${seen}`));
      }, ms);
      this.waiting.add(waiter);
    });
  }

  /** Waits until `count` events of this name (and content) are there; returns them. */
  async count(name, count, matches = () => true, ms = WAIT_MS) {
    for (const end = Date.now() + ms; ; await sleep(10)) {
      const found = this.all(name, matches);
      if (found.length >= count) return found;
      if (Date.now() > end) throw new Error(`${found.length} of ${count} ${name} within ${ms} ms`);
    }
  }

  /** No such event arrives from `from` on, for `ms` from now. */
  async none(name, matches = () => true, { ms = 500, from = 0 } = {}) {
    await sleep(ms);
    const found = this.events.slice(from).find((event) => event.name === name && matches(event.payload));
    assert.equal(found, undefined, `unexpected ${name}: ${JSON.stringify(found?.payload)}`);
  }

  /** How many events there are: a mark for `from`. */
  get mark() {
    return this.events.length;
  }

  emit(name, ...args) {
    this.socket.emit(name, ...args);
  }

  /** Emits and waits for the ack. */
  call(name, ...args) {
    return this.socket.timeout(WAIT_MS).emitWithAck(name, ...args);
  }

  /** Emits and expects `{ok:true}`. */
  async ok(name, ...args) {
    const ack = await this.call(name, ...args);
    assert.equal(ack?.ok, true, `${name}: ${JSON.stringify(ack)}`);
    return ack;
  }

  /** Emits and expects `{error}` with this code. */
  async refused(code, name, ...args) {
    const ack = await this.call(name, ...args);
    assert.equal(ack?.error?.code, code, `${name}: ${JSON.stringify(ack)}`);
    assert.equal(typeof ack.error.message, 'string');
    return ack.error;
  }

  resume(cursors = {}, more = {}) {
    return this.ok('sync:resume', { cursors, ...more });
  }

  /** `seq` of each chat:message of a conversation, in order of arrival. */
  seqs(conversationId) {
    return this.all('chat:message', (message) => message.conversationId === conversationId).map(({ seq }) => seq);
  }

  /** The engine's transport as it is now. */
  get transport() {
    return this.socket.io.engine?.transport?.name;
  }

  async upgraded(ms = WAIT_MS) {
    for (const end = Date.now() + ms; this.transport !== 'websocket'; await sleep(5)) {
      assert.ok(Date.now() < end, 'not upgraded to websocket');
    }
  }

  async opened() {
    this.socket.connect();
    const first = await Promise.race([this.next('$connect'), this.next('$connect_error')]);
    if (first instanceof Error) throw first;
    return this;
  }

  /** Ends the transport without a word, as a lost network does. */
  cut() {
    const { engine } = this.socket.io;
    const ws = engine.transport.ws;
    if (ws?._socket) ws._socket.destroy();
    else engine.close();
  }

  close() {
    this.socket.disconnect();
  }
}

/** A connected client; throws what `connect_error` says. @returns {Promise<Client>} */
export function connectClient(url, options) {
  return new Client(url, options).opened();
}

/** The error of a connection that must be refused. */
export async function refusedConnect(url, options) {
  const client = new Client(url, options);
  try {
    await client.opened();
  } catch (error) {
    return error;
  } finally {
    client.close();
  }
  throw new Error('the connection was accepted');
}
