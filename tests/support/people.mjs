// People, conversations and tokens, made through the product's own interface.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Rest } from './rest.mjs';
import { connectClient } from './sockets.mjs';

export const password = () => `pw-${randomBytes(9).toString('base64url')}`;
export const unique = (name) => `${name}-${randomBytes(5).toString('hex')}`;
export const clientId = () => randomBytes(12).toString('hex');

/** Somebody with an account and a token. */
export class Person {
  constructor(server, fields) {
    Object.assign(this, fields);
    this.server = server;
    this.rest = new Rest(server.baseUrl, this.token);
    this.clients = [];
  }

  /** A stock client of this person, authenticated. @see connectClient */
  async connect(options = {}) {
    const client = await connectClient(this.server.baseUrl, { auth: { token: this.token }, ...options });
    this.clients.push(client);
    return client;
  }

  /** Signs in again: another session of the same account. */
  async login(headers) {
    const answer = await new Rest(this.server.baseUrl).post('/api/auth/login', { email: this.email, password: this.password }, headers);
    assert.equal(answer.status, 200, answer.text);
    return new Person(this.server, {
      ...this, rest: undefined, clients: undefined, token: answer.body.accessToken, refreshToken: answer.body.refreshToken,
    });
  }

  close() {
    this.clients?.forEach((client) => client.close());
  }
}

/** Registers somebody with a name nobody else has. @returns {Promise<Person>} */
export async function person(server, name = 'user') {
  const username = unique(name);
  const fields = { username, email: `${username}@test.invalid`, password: password() };
  const answer = await new Rest(server.baseUrl).post('/api/auth/register', fields);
  assert.equal(answer.status, 201, `register: ${answer.status} ${answer.text}`);
  const { user, accessToken, refreshToken } = answer.body;
  return new Person(server, { ...fields, id: user.id, token: accessToken, refreshToken });
}

export const people = (server, ...names) => Promise.all(names.map((name) => person(server, name)));

/** The direct conversation of two people. */
export async function direct(a, b) {
  const answer = await a.rest.post('/api/chats/conversations', { type: 'direct', memberIds: [b.id] });
  assert.ok([200, 201].includes(answer.status), `direct: ${answer.status} ${answer.text}`);
  return answer.body;
}

export async function group(owner, others, name = 'Crew') {
  const answer = await owner.rest.post('/api/chats/conversations', { type: 'group', name, memberIds: others.map(({ id }) => id) });
  assert.equal(answer.status, 201, `group: ${answer.status} ${answer.text}`);
  return answer.body;
}

/** Sends by REST and returns the stored message. */
export async function send(from, conversationId, content, more = {}) {
  const answer = await from.rest.post(`/api/chats/conversations/${conversationId}/messages`, { content, type: 'text', ...more });
  assert.ok([200, 201].includes(answer.status), `send: ${answer.status} ${answer.text}`);
  return answer.body.message;
}

/** Waits until the list of conversations knows this head: where the people database is elsewhere it may be 3 s behind. */
export async function listed(who, conversationId, seq, ms = 5_000) {
  for (const end = Date.now() + ms; ;) {
    const answer = await who.rest.get('/api/chats/conversations');
    const found = answer.body.find(({ id }) => id === conversationId);
    if (found?.seq >= seq) return found;
    if (Date.now() > end) assert.fail(`the list says ${found?.seq} for ${seq}`);
    await sleep(50);
  }
}

/** Every message of a conversation, oldest first, over all pages. */
export async function wholeHistory(who, conversationId) {
  const all = [];
  for (let before = ''; ;) {
    const answer = await who.rest.get(`/api/chats/conversations/${conversationId}/messages?limit=200${before}`);
    assert.equal(answer.status, 200, answer.text);
    all.unshift(...answer.body);
    const next = answer.headers.get('x-next-before');
    if (!next) return all;
    before = `&before=${encodeURIComponent(next)}`;
  }
}

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** Header and claims of a token, unverified. */
export function decode(token) {
  const [header, claims] = token.split('.');
  return { header: JSON.parse(Buffer.from(header, 'base64url')), claims: JSON.parse(Buffer.from(claims, 'base64url')) };
}

/** Signs with HS256. `claims` may be text, for claims that no object can hold. */
export function sign(secret, claims, header = { alg: 'HS256', typ: 'at+jwt' }) {
  const body = `${part(header)}.${part(claims)}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

/** The token of a person, with other claims or another header. */
export function forged(server, token, change = {}, header = {}) {
  const original = decode(token);
  return sign(server.secret, { ...original.claims, ...change }, { ...original.header, ...header });
}
