// A device that lives through everything: a stock client that reconnects, resumes by cursor, and repeats every send
// with its clientId until it is resolved. It records what it asks and sees.
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { atEnd } from './cleanup.mjs';
import { row } from './history.mjs';

const ACK_MS = 10_000;

export class Device {
  /**
   * @param {import('./people.mjs').Person} person
   * @param {{name: string, conversations: string[], history: import('./history.mjs').History, transports?: string[]}} options
   */
  constructor(person, { name, conversations, history, transports }) {
    Object.assign(this, { person, name, conversations, history });
    /** Highest seq without a hole, per conversation. */
    this.held = new Map(conversations.map((id) => [id, 0]));
    /** Everything taken, in order, per conversation. */
    this.taken = new Map(conversations.map((id) => [id, []]));
    /** Sends without an answer, by clientId. */
    this.pending = new Map();
    this.acked = [];
    this.refusals = [];
    this.faults = [];
    this.generations = {};
    this.connections = 0;
    this.conn = null;
    this.ready = false;
    this.sent = 0;
    this.socket = io(person.server.baseUrl, {
      forceNew: true, autoConnect: false, auth: { token: person.token }, reconnectionDelay: 40, reconnectionDelayMax: 250, timeout: 3_000, ...(transports ? { transports } : {}),
    });
    atEnd(() => this.close());
    this.socket.on('connect', () => this.#connected());
    this.socket.on('disconnect', () => this.#disconnected());
    this.socket.on('chat:message', (message) => this.#delivered(message));
    this.socket.on('sync:reset', ({ conversationId, headSeq }) => {
      this.history.write('reset', { conn: this.conn, conversation: conversationId, head: headSeq });
      this.faults.push(`sync:reset of ${conversationId}`);
    });
    this.socket.on('chat:receipts', (event) => this.#marks(event.conversationId, event.userId, event.deliveredSeq, event.readSeq));
    this.socket.on('chat:read', (event) => this.#marks(event.conversationId, event.userId, undefined, event.upTo));
    this.socket.on('error', (error) => this.faults.push(`error event ${JSON.stringify(error)}`));
    this.socket.on('connect_error', (error) => { if (error.data) this.faults.push(`connect_error ${JSON.stringify(error.data)}`); });
  }

  start() {
    this.socket.connect();
    return this;
  }

  #marks(conversation, user, delivered_seq, read_seq) {
    this.history.write('marks', { conversation, user, ...(delivered_seq === undefined ? {} : { delivered_seq }), ...(read_seq === undefined ? {} : { read_seq }) });
  }

  #connected() {
    this.connections += 1;
    this.conn = `${this.name}#${this.connections}`;
    this.history.write('connect', { conn: this.conn, device: this.name, user: this.person.id });
    this.#resume(this.conn);
  }

  #disconnected() {
    this.ready = false;
    if (this.conn) this.history.write('disconnect', { conn: this.conn });
    this.conn = null;
  }

  async #resume(conn) {
    let cursors = Object.fromEntries(this.held);
    while (this.conn === conn) {
      const op = this.history.op();
      this.history.write('resume', { op, conn, cursors });
      let ack;
      try {
        ack = await this.socket.timeout(ACK_MS).emitWithAck('sync:resume', { cursors, generations: this.generations });
      } catch {
        if (this.conn === conn) this.faults.push('sync:resume was not answered');
        return;
      }
      if (!ack.ok) {
        this.history.write('resume_failed', { op });
        await sleep(50);
        continue;
      }
      const marks = Object.fromEntries(Object.entries(ack.marks ?? {}).filter(([, { members }]) => members).map(([id, { members }]) => [id, members]));
      this.history.write('resumed', { op, heads: ack.heads, more: ack.more, marks });
      Object.assign(this.generations, ack.generations);
      if (!Object.keys(ack.more).length) break;
      cursors = { ...ack.more };
    }
    if (this.conn !== conn) return;
    this.ready = true;
    for (const key of this.pending.keys()) this.#attempt(key);
  }

  #delivered(message) {
    const conversation = message.conversationId;
    this.history.write('deliver', { conn: this.conn ?? `${this.name}#${this.connections}`, conversation, row: row(message) });
    const held = this.held.get(conversation) ?? 0;
    if (message.seq === held + 1) {
      this.held.set(conversation, message.seq);
      this.taken.get(conversation)?.push(message.seq);
    } else if (message.seq > held + 1 && this.ready) {
      this.faults.push(`gap in ${conversation}: ${message.seq} after ${held}`);
    }
  }

  /** Sends; resolves when the outcome is known, however many connections that takes. */
  send(conversationId, content = `${this.name} ${this.sent + 1}`) {
    this.sent += 1;
    const key = `${this.name}-${this.sent}`;
    return new Promise((done) => {
      this.pending.set(key, { conversationId, content, done, flying: false });
      if (this.ready) this.#attempt(key);
    });
  }

  async #attempt(key) {
    const sending = this.pending.get(key);
    if (!sending || sending.flying) return;
    sending.flying = true;
    const { conversationId, content } = sending;
    const op = this.history.op();
    this.history.write('send', { op, user: this.person.id, device: this.name, conversation: conversationId, client_id: key, content });
    let ack;
    try {
      ack = await this.socket.timeout(ACK_MS).emitWithAck('chat:message', { conversationId, content, type: 'text', clientId: key });
    } catch (error) {
      this.history.write('unknown', { op });
      sending.flying = false;
      if (this.ready) {
        if (!String(error).includes('disconnected')) this.faults.push(`M6 no answer to ${key}`);
        this.#attempt(key);
      }
      return;
    }
    sending.flying = false;
    if (ack.ok) {
      this.history.write('ok', { op, row: row(ack.message) });
      this.acked.push({ conversationId, message: ack.message });
      this.pending.delete(key);
      sending.done(ack.message);
      return;
    }
    this.history.write('fail', { op, code: ack.error.code });
    this.refusals.push(ack.error.code);
    if (['MESSAGE_SEND_FAILED', 'RATE_LIMITED', 'NODE_UNAVAILABLE'].includes(ack.error.code)) {
      await sleep(50);
      if (this.ready) this.#attempt(key);
      return;
    }
    this.faults.push(`${key} was refused with ${ack.error.code}`);
    this.pending.delete(key);
    sending.done(null);
  }

  /** Marks everything held as read. */
  async read(conversationId) {
    if (!this.ready) return;
    const up_to = this.held.get(conversationId);
    if (!up_to) return;
    const op = this.history.op();
    this.history.write('mark', { op, user: this.person.id, conversation: conversationId, up_to });
    const ack = await this.socket.timeout(ACK_MS).emitWithAck('chat:markRead', { conversationId, upTo: up_to }).catch(() => null);
    if (ack?.ok) this.history.write('marked', { op, read_seq: ack.readSeq });
  }

  /** Ready, with every send resolved. */
  async settled(ms = 20_000) {
    for (const end = Date.now() + ms; !this.ready || this.pending.size; await sleep(20)) {
      if (Date.now() > end) throw new Error(`${this.name} is not settled: ready ${this.ready}, ${this.pending.size} sends without answer; ${this.faults.join('; ')}`);
    }
  }

  /** Holds everything up to `heads`. */
  async caughtUp(heads, ms = 15_000) {
    for (const end = Date.now() + ms; ; await sleep(20)) {
      const behind = this.conversations.filter((id) => this.held.get(id) < heads.get(id));
      if (!behind.length) return;
      if (Date.now() > end) throw new Error(`${this.name} holds ${behind.map((id) => `${this.held.get(id)} of ${heads.get(id)} in ${id}`)}; ${this.faults.join('; ')}`);
    }
  }

  close() {
    this.socket.disconnect();
  }
}
