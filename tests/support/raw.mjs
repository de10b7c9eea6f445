// Engine.IO by hand: one websocket, or one polling session, packet by packet.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { atEnd } from './cleanup.mjs';

const WAIT_MS = 5_000;
export const SEPARATOR = '\x1e';
export const KEYS = ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades'];

const agent = new Agent({ keepAlive: false, maxSockets: Infinity });

const endpoint = (base, path, query) => {
  const url = new URL(path, base);
  for (const [key, value] of Object.entries({ EIO: '4', ...query })) {
    if (value !== undefined) url.searchParams.set(key, value);
  }
  return url;
};

/**
 * A websocket that keeps what arrives. Pings of the server are answered unless `pong: false`, and are not kept
 * unless `pings: true`.
 */
export class RawSocket {
  constructor(base, path = '/socket.io/', { query = {}, headers = {}, pong = true, pings = false, protocols, ...options } = {}) {
    const url = endpoint(base, path, { transport: 'websocket', ...query });
    url.protocol = url.protocol.replace('http', 'ws');
    /** @type {(string|Buffer)[]} */
    this.inbox = [];
    this.wakers = [];
    this.status = 101;
    this.ws = new WebSocket(url, protocols, { headers, perMessageDeflate: false, maxPayload: 64 * 1024 * 1024, ...options });
    atEnd(() => this.close());
    this.open = new Promise((done) => this.ws.once('open', () => done(true)));
    this.closed = new Promise((done) => {
      this.ws.once('close', (code, reason) => { this.code = code; this.reason = String(reason); done({ code, reason: this.reason }); this.#wake(); });
    });
    this.ws.on('unexpected-response', (_, response) => {
      this.status = response.statusCode;
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => { this.refusal = text; this.ws.emit('close', 0, Buffer.from('refused')); });
    });
    this.ws.on('error', (error) => { this.error = error; });
    this.ws.on('message', (data, binary) => {
      const packet = binary ? data : String(data);
      if (packet === '2') {
        if (pong && this.ws.readyState === WebSocket.OPEN) this.ws.send('3');
        if (!pings) return;
      }
      this.inbox.push(packet);
      this.#wake();
    });
  }

  #wake() {
    this.wakers.splice(0).forEach((wake) => wake());
  }

  send(...packets) {
    packets.forEach((packet) => this.ws.send(packet));
    return this;
  }

  /** The next packet that was not taken yet. */
  async next(ms = WAIT_MS) {
    const end = Date.now() + ms;
    while (!this.inbox.length) {
      if (this.code !== undefined) throw new Error(`closed with ${this.code} ${this.reason} before the next packet`);
      const left = end - Date.now();
      if (left <= 0) throw new Error(`no packet within ${ms} ms`);
      let timer;
      await Promise.race([new Promise((done) => this.wakers.push(done)), new Promise((done) => { timer = setTimeout(done, left); })]);
      clearTimeout(timer);
    }
    return this.inbox.shift();
  }

  async take(count, ms) {
    const packets = [];
    while (packets.length < count) packets.push(await this.next(ms));
    return packets;
  }

  /** Takes packets until one matches. */
  async until(matches, ms = WAIT_MS) {
    for (const end = Date.now() + ms; ;) {
      const packet = await this.next(Math.max(1, end - Date.now()));
      if (matches(packet)) return packet;
    }
  }

  /** Nothing arrives for `ms`. */
  async silent(ms = 300) {
    await sleep(ms);
    assert.deepEqual(this.inbox, []);
  }

  /** The open packet's content. */
  async handshake() {
    const packet = await this.next();
    assert.equal(packet[0], '0', `open packet: ${packet}`);
    this.opened = JSON.parse(packet.slice(1));
    return this.opened;
  }

  /** Waits for the close and returns its code. */
  async ended(ms = WAIT_MS) {
    const late = sleep(ms, 'late', { ref: false });
    const how = await Promise.race([this.closed, late]);
    assert.notEqual(how, 'late', `still open after ${ms} ms; unread: ${JSON.stringify(this.inbox.slice(0, 5))}`);
    return how.code;
  }

  /** The connection must be refused or closed without a packet. */
  async refused(ms = WAIT_MS) {
    await this.ended(ms);
    assert.deepEqual(this.inbox, []);
    return this.status;
  }

  close() {
    this.ws.terminate();
  }
}

/** A websocket behind its open packet. */
export async function openSocket(base, path, options) {
  const socket = new RawSocket(base, path, options);
  await socket.handshake();
  return socket;
}

/**
 * @typedef {{status: number, headers: import('node:http').IncomingHttpHeaders, text: string, json: any}} PollAnswer
 * @returns {Promise<PollAnswer> & {abort(): void}}
 */
export function poll(base, path, { method = 'GET', query = {}, headers = {}, body, timeout = 35_000 } = {}) {
  let req;
  const promise = new Promise((done, fail) => {
    req = request(endpoint(base, path, { transport: 'polling', ...query }), { method, headers, agent }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        let json;
        try { json = JSON.parse(text); } catch { json = undefined; }
        done({ status: response.statusCode, headers: response.headers, text, json });
      });
    });
    req.on('error', fail);
    req.setTimeout(timeout, () => req.destroy(new Error(`no answer to ${method} within ${timeout} ms`)));
    req.end(body);
  });
  promise.abort = () => { promise.catch(() => {}); req.destroy(); };
  return promise;
}

/** One polling session. */
export class Polling {
  constructor(base, path, opened) {
    Object.assign(this, { base, path, opened, sid: opened.sid });
  }

  static async open(base, path = '/socket.io/', options = {}) {
    const answer = await poll(base, path, options);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.text[0], '0');
    return new Polling(base, path, JSON.parse(answer.text.slice(1)));
  }

  get(options = {}) {
    return poll(this.base, this.path, { ...options, query: { sid: this.sid, ...options.query } });
  }

  post(body, options = {}) {
    return poll(this.base, this.path, {
      method: 'POST', body, ...options, query: { sid: this.sid, ...options.query },
      headers: { 'content-type': 'text/plain;charset=UTF-8', ...options.headers },
    });
  }

  async posted(body) {
    const answer = await this.post(body);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.text, 'ok');
  }

  /** Packets of one GET. */
  async packets() {
    const answer = await this.get();
    assert.equal(answer.status, 200, answer.text);
    return answer.text.split(SEPARATOR);
  }

  /** Polls, answering pings, until `count` other packets are there. */
  async take(count, ms = WAIT_MS) {
    const found = [];
    for (const end = Date.now() + ms; found.length < count;) {
      assert.ok(Date.now() < end, `${found.length} of ${count} packets within ${ms} ms: ${found}`);
      for (const packet of await this.packets()) {
        if (packet === '2') await this.posted('3');
        else if (packet !== '6') found.push(packet);
      }
    }
    return found;
  }

  /** A websocket candidate of this session. */
  candidate(options = {}) {
    return new RawSocket(this.base, this.path, { ...options, query: { sid: this.sid, ...options.query } });
  }

  /** Probe, drain, upgrade: the websocket afterwards. */
  async upgrade(options) {
    const socket = this.candidate(options);
    await socket.open;
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    socket.send('5');
    return socket;
  }

  /** The session is gone: every request is refused with 400. */
  async gone() {
    const answer = await this.get();
    assert.equal(answer.status, 400, `the session lives: ${answer.text}`);
  }
}

/** A websocket frame by hand, for frames that no library sends. */
export function frame({ fin = true, rsv = 0, opcode = 1, masked = true, payload = Buffer.alloc(0), length }) {
  const body = Buffer.from(payload);
  const size = length ?? body.length;
  const head = size < 126 ? Buffer.alloc(2) : size < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = masked ? 0x80 : 0;
  if (size < 126) head[1] |= size;
  else if (size < 65536) { head[1] |= 126; head.writeUInt16BE(size, 2); } else { head[1] |= 127; head.writeBigUInt64BE(BigInt(size), 2); }
  if (!masked) return Buffer.concat([head, body]);
  const mask = randomBytes(4);
  const hidden = Buffer.from(body.map((byte, i) => byte ^ mask[i & 3]));
  return Buffer.concat([head, mask, hidden]);
}

/** A TCP connection behind a websocket handshake; bytes go out unchecked. */
export class BareSocket {
  constructor(base, path = '/socket.io/', query = {}, headers = {}) {
    const url = endpoint(base, path, { transport: 'websocket', ...query });
    this.bytes = Buffer.alloc(0);
    this.tcp = connect(Number(url.port), url.hostname);
    this.tcp.on('error', () => {});
    atEnd(() => this.close());
    this.tcp.on('data', (chunk) => { this.bytes = Buffer.concat([this.bytes, chunk]); });
    this.closed = new Promise((done) => this.tcp.once('close', done));
    this.tcp.on('end', () => this.tcp.end());
    const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    this.tcp.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
      + `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${more}\r\n`);
  }

  /** Waits for the open packet. */
  async ready(ms = WAIT_MS) {
    for (const end = Date.now() + ms; !this.bytes.includes('"sid"'); await sleep(5)) {
      assert.ok(Date.now() < end, `no open packet: ${this.bytes.toString('latin1')}`);
    }
    this.bytes = Buffer.alloc(0);
    return this;
  }

  write(...chunks) {
    chunks.forEach((chunk) => this.tcp.write(chunk));
    return this;
  }

  /** Frames that arrived whole, as `{opcode, payload}`. */
  frames() {
    const found = [];
    for (let at = 0; at + 2 <= this.bytes.length;) {
      const opcode = this.bytes[at] & 0x0f;
      let size = this.bytes[at + 1] & 0x7f;
      let head = 2;
      if (size === 126) { size = this.bytes.readUInt16BE(at + 2); head = 4; } else if (size === 127) { size = Number(this.bytes.readBigUInt64BE(at + 2)); head = 10; }
      if (at + head + size > this.bytes.length) break;
      found.push({ opcode, payload: this.bytes.subarray(at + head, at + head + size) });
      at += head + size;
    }
    return found;
  }

  /** Waits until the server has ended the connection; the code of its close frame, or `undefined` without one. */
  async ended(ms = WAIT_MS) {
    const answer = (async () => {
      for (;;) {
        const over = this.tcp.destroyed;
        const close = this.frames().find(({ opcode }) => opcode === 8);
        if (close) return close.payload.length >= 2 ? close.payload.readUInt16BE(0) : 1005;
        if (over) return undefined;
        await sleep(5);
      }
    })();
    const how = await Promise.race([answer, this.closed.then(() => answer), sleep(ms, 'late', { ref: false })]);
    this.tcp.destroy();
    assert.notEqual(how, 'late', `still open after ${ms} ms`);
    return how;
  }

  async frame(matches, ms = WAIT_MS) {
    for (const end = Date.now() + ms; ; await sleep(5)) {
      const found = this.frames().find(matches);
      if (found) return found;
      assert.ok(Date.now() < end, 'no such frame');
    }
  }

  close() {
    this.tcp.destroy();
  }
}
