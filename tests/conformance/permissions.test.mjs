// Who may do what: every route of schema/openapi.json and every event of a client, asked by everybody from the owner to
// nobody at all. What one may not see is answered like what is not there, and a refusal changes nothing and is told to
// nobody. Contract 2.3; guarantees 12 "Objects and functions": N19, N20, N22, N25, N28, N29.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { cast, everything, INSIDE, MISSING, ROLES, settled } from '../support/cast.mjs';
import { document } from '../support/openapi.mjs';
import { isError } from '../support/shapes.mjs';
import { connectClient, straight } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

const THUMB = encodeURIComponent('\u{1f44d}');
const NOBODY = '401 UNAUTHORIZED';
const HIDDEN = '404 NOT_FOUND';
const DENIED = '403 PERMISSION_DENIED';
const UNKNOWN_USER = '404 USER_NOT_FOUND';

/**
 * What a role gets. A text is a refusal: status and code. `quiet(status)`: answered as usual, without effect or with
 * nothing of it. A number, or `done`: it is done; asked last, because it changes something.
 */
const quiet = (status, check) => ({ quiet: status, check });
const everybody = (answer) => Object.fromEntries(ROLES.slice(0, -1).map((role) => [role, answer]));
/** The same for all, but each sees the own: `of` names whom each role finds. */
const lists = (of) => everybody(quiet(200, (body, x, role) => {
  const wanted = (of[role] ?? []).map((name) => (x.who[name] ?? x.things[name]).id);
  assert.deepEqual(body.map(({ id }) => id).sort(), wanted.sort(), role);
}));
const hits = (count) => quiet(200, (body) => assert.equal(body.hits.length, count));
/** The own record, whoever else is named. */
const own = everybody(quiet(200, (body, x, role) => assert.equal(body.id, x.who[role].id)));

// A row: the route; `of`, what its first parameter names (`other`: whom the second); the body; who gets what. Whoever is
// not named gets `rest`, NOT_FOUND if nothing else is said, and whoever has no token gets 401. `missing`: what all get
// for an id that is not there. `never`: who is not asked, because it would be done.
const REST = [
  // Conversations: a group that `ex` was removed from.
  { route: 'GET /api/chats/conversations', may: lists({ owner: ['crew', 'pair'], member: ['crew'], blocked: ['pair'] }) },
  { route: 'GET /api/chats/conversations/{id}', of: 'crew', may: { owner: 200, member: 200 } },
  { route: 'GET /api/chats/conversations/{id}/messages', of: 'crew', may: { owner: 200, member: 200 } },
  { route: 'GET /api/chats/conversations/{id}/messages', of: 'crew', query: (x) => `?around=${x.things.mine.id}`, may: { owner: 200, member: 200 } },
  { route: 'GET /api/chats/conversations/{id}/events', of: 'crew', query: () => '?after=0', may: { owner: 200, member: 200 } },
  { route: 'GET /api/chats/conversations/{id}/events', of: 'crew', query: () => '?after=99', may: { owner: 200, member: 200 } },
  { route: 'POST /api/chats/conversations/{id}/messages', of: 'crew', body: () => ({ content: 'x', type: 'text' }), may: { owner: 201, member: 201 } },
  { route: 'POST /api/chats/conversations/{id}/messages', of: 'crew', body: (x, id, role) => ({ content: 'x', type: 'text', clientId: role, replyTo: x.things.mine.id }), may: { owner: 201, member: 201 } },
  { route: 'POST /api/chats/conversations/{id}/read', of: 'crew', body: () => ({ upTo: 1 }), may: { owner: 200, member: 200 } },
  { route: 'POST /api/chats/conversations/{id}/read', of: 'crew', body: (x) => ({ upTo: x.things.mine.id }), may: { owner: 200, member: 200 } },
  { route: 'PATCH /api/chats/conversations/{id}/me', of: 'crew', body: () => ({ level: 'mentions' }), may: { owner: 204, member: 204 } },
  { route: 'PATCH /api/chats/conversations/{id}', of: 'crew', body: () => ({ name: 'Renamed' }), may: { owner: 200, member: DENIED } },
  { route: 'PATCH /api/chats/conversations/{id}', of: 'crew', body: () => ({ avatarId: null }), may: { owner: 200, member: DENIED } },
  { route: 'POST /api/chats/conversations/{id}/members', of: 'crew', body: (x) => ({ userIds: [x.who.newcomer.id] }), may: { owner: 200, member: DENIED } },
  // Whoever may not add learns nothing about who is there.
  { route: 'POST /api/chats/conversations/{id}/members', of: 'crew', body: () => ({ userIds: [MISSING] }), may: { owner: UNKNOWN_USER, member: DENIED } },
  { route: 'POST /api/chats/conversations/{id}/members', of: 'crew', body: (x) => ({ userIds: [x.who.blocked.id] }), may: { owner: '403 BLOCKED', member: DENIED } },
  { route: 'PATCH /api/chats/conversations/{id}/members/{userId}', of: 'crew', other: 'spare', body: () => ({ role: 'admin' }), may: { owner: 200, member: DENIED } },
  { route: 'PATCH /api/chats/conversations/{id}/members/{userId}', of: 'crew', other: 'member', body: () => ({ role: 'owner' }), may: { owner: 200, member: DENIED }, never: ['owner'] },
  { route: 'DELETE /api/chats/conversations/{id}/members/{userId}', of: 'crew', other: 'spare', may: { owner: 200, member: DENIED } },
  { route: 'DELETE /api/chats/conversations/{id}/members/{userId}', of: 'crew', other: 'owner', may: { member: DENIED }, never: ['owner'] },
  { route: 'DELETE /api/chats/conversations/{id}/members/{userId}', of: 'crew', other: 'stranger', may: { owner: UNKNOWN_USER, member: DENIED } },

  // A direct one with somebody whom the owner has blocked since.
  { route: 'GET /api/chats/conversations/{id}', of: 'pair', may: { owner: 200, blocked: 200 } },
  { route: 'GET /api/chats/conversations/{id}/messages', of: 'pair', may: { owner: 200, blocked: 200 } },
  { route: 'GET /api/chats/conversations/{id}/events', of: 'pair', may: { owner: 200, blocked: 200 } },
  { route: 'POST /api/chats/conversations/{id}/messages', of: 'pair', body: () => ({ content: 'x', type: 'text' }), may: { owner: '403 BLOCKED', blocked: '409 USER_UNAVAILABLE' } },
  { route: 'POST /api/chats/conversations/{id}/read', of: 'pair', body: () => ({ upTo: 1 }), may: { owner: quiet(200), blocked: quiet(200) } },
  { route: 'PATCH /api/chats/conversations/{id}/me', of: 'pair', body: () => ({ level: 'none' }), may: { owner: 204, blocked: 204 } },
  { route: 'PATCH /api/chats/conversations/{id}', of: 'pair', body: () => ({ name: 'x' }), may: { owner: DENIED, blocked: DENIED } },
  { route: 'POST /api/chats/conversations/{id}/members', of: 'pair', body: (x) => ({ userIds: [x.who.newcomer.id] }), may: { owner: DENIED, blocked: DENIED } },
  { route: 'PATCH /api/chats/conversations/{id}/members/{userId}', of: 'pair', other: 'owner', body: () => ({ role: 'member' }), may: { owner: DENIED, blocked: DENIED } },
  { route: 'DELETE /api/chats/conversations/{id}/members/{userId}', of: 'pair', other: 'owner', may: { owner: DENIED, blocked: DENIED } },
  { route: 'POST /api/chats/conversations/{id}/leave', of: 'pair', may: { owner: DENIED, blocked: DENIED } },

  // Messages of the owner and of the fellow member.
  { route: 'GET /api/chats/messages/{id}/edits', of: 'mine', may: { owner: 200, member: 200 } },
  { route: 'PATCH /api/chats/messages/{id}', of: 'mine', body: () => ({ content: 'edited' }), may: { owner: 200, member: DENIED } },
  { route: 'PATCH /api/chats/messages/{id}', of: 'theirs', body: () => ({ content: 'edited' }), may: { owner: DENIED, member: 200 } },
  { route: 'PUT /api/chats/messages/{id}/reactions/{emoji}', of: 'mine', may: { owner: 200, member: 200 } },
  { route: 'DELETE /api/chats/messages/{id}/reactions/{emoji}', of: 'mine', may: { owner: 200, member: 200 } },
  { route: 'DELETE /api/chats/messages/{id}', of: 'mine2', may: { owner: 200, member: DENIED } },
  { route: 'DELETE /api/chats/messages/{id}', of: 'theirs2', may: { owner: 200, member: 200 } },
  { route: 'GET /api/chats/messages/{id}/edits', of: 'ours', may: { owner: 200, blocked: 200 } },
  { route: 'PATCH /api/chats/messages/{id}', of: 'ours', body: () => ({ content: 'edited' }), may: { owner: '403 BLOCKED', blocked: DENIED } },
  { route: 'PUT /api/chats/messages/{id}/reactions/{emoji}', of: 'ours', may: { owner: '403 BLOCKED', blocked: '409 USER_UNAVAILABLE' } },
  { route: 'DELETE /api/chats/messages/{id}/reactions/{emoji}', of: 'ours', may: { owner: '403 BLOCKED', blocked: '409 USER_UNAVAILABLE' } },
  { route: 'DELETE /api/chats/messages/{id}', of: 'ours2', may: { owner: 200, blocked: DENIED } },
  { route: 'GET /api/chats/search', query: (x) => `?q=${x.things.word}`, may: { ...everybody(hits(0)), owner: hits(2), member: hits(1), blocked: hits(1) } },
  { route: 'GET /api/chats/search', of: 'crew', query: (x, id) => `?q=${x.things.word}&conversationId=${id}`, may: { ...everybody(hits(0)), owner: hits(1), member: hits(1) }, hidden: ['ex', 'contact', 'blocked', 'stranger'] },

  // People: the owner's record.
  { route: 'GET /api/users/{id}', of: 'owner', may: { ...everybody(quiet(200, (body) => assert.equal(body.status, 'at home'))), blocked: quiet(200, (body) => assert.equal(body.status, '')) }, missing: UNKNOWN_USER },
  { route: 'GET /api/users/search', query: (x) => `?q=${x.who.owner.username}`, may: lists({ member: ['owner'], ex: ['owner'], contact: ['owner'], stranger: ['owner'] }) },
  { route: 'GET /api/users/contacts', may: lists({ owner: ['contact'], contact: ['owner'] }) },
  { route: 'GET /api/users/contacts/pending', may: lists({}) },
  { route: 'GET /api/users/contacts/pending', query: () => '?direction=out', may: lists({}) },
  { route: 'GET /api/users/contacts/blocked', may: lists({ owner: ['blocked'] }) },
  { route: 'GET /api/users/me/settings', may: everybody(quiet(200)) },
  { route: 'GET /api/auth/me', query: (x) => `?id=${x.who.owner.id}`, may: own },
  { route: 'GET /api/auth/sessions', may: everybody(quiet(200, (body, x, role) => assert.equal(body.length, role === 'owner' ? 2 : 1))) },
  { route: 'PATCH /api/users/contacts/{contactId}', of: 'owner', body: () => ({ status: 'accepted' }), may: { ...everybody(HIDDEN), contact: quiet(200) } },
  { route: 'PATCH /api/users/contacts/{contactId}', of: 'owner', body: () => ({ status: 'declined' }), may: everybody(HIDDEN) },
  { route: 'PATCH /api/users/contacts/{contactId}', of: 'owner', body: () => ({ status: 'blocked' }), may: { ...everybody(200), owner: '400 INVALID_DATA' }, missing: UNKNOWN_USER, never: ['member', 'ex', 'contact', 'blocked', 'stranger'] },
  // There is nothing to remove, and a block is not theirs to end.
  { route: 'DELETE /api/users/contacts/{contactId}', of: 'owner', may: { ...everybody(quiet(204)), contact: 204 }, missing: 204 },
  { route: 'POST /api/users/contacts/{contactId}', of: 'owner', may: { ...everybody(201), owner: '400 INVALID_DATA', member: 201 }, missing: UNKNOWN_USER },
  { route: 'DELETE /api/auth/sessions/{sid}', of: 'session', may: { owner: 204 } },
  { route: 'PATCH /api/users/me', body: (x) => ({ id: x.who.owner.id, userId: x.who.owner.id, email: 'somebody@test.invalid' }), may: everybody('403 REAUTH_REQUIRED') },
  { route: 'PATCH /api/users/me', body: (x) => ({ username: x.who.spare.username }), may: everybody('409 CONFLICT') },
  { route: 'PATCH /api/users/me', body: (x) => ({ id: x.who.owner.id, userId: x.who.owner.id, status: 'changed' }), may: Object.fromEntries(Object.entries(own).map(([role, { check }]) => [role, { done: 200, check }])), never: ['owner'] },
  { route: 'PATCH /api/users/me/settings', body: () => ({ theme: 'dark' }), may: everybody(quiet(200)), never: ['owner'] },
  { route: 'POST /api/auth/password', body: () => ({ currentPassword: 'not the password', newPassword: 'kTz81-plover-Quartz' }), may: everybody('403 REAUTH_REQUIRED') },

  // With whom one may open a conversation.
  { route: 'POST /api/chats/conversations', of: 'owner', body: (x, id) => ({ type: 'direct', memberIds: [id] }), may: { ...everybody(201), owner: '400 INVALID_DATA', blocked: '409 USER_UNAVAILABLE' }, missing: UNKNOWN_USER },
  { route: 'POST /api/chats/conversations', of: 'owner', body: (x, id) => ({ type: 'group', name: 'x', memberIds: [id] }), may: { ...everybody(201), owner: '400 INVALID_DATA', blocked: DENIED }, missing: UNKNOWN_USER },
  { route: 'POST /api/chats/conversations', of: 'blocked', body: (x, id) => ({ type: 'direct', memberIds: [id] }), may: { owner: '403 BLOCKED' }, only: ['owner', 'anonymous'], missing: UNKNOWN_USER },
  { route: 'POST /api/chats/conversations', of: 'blocked', body: (x, id) => ({ type: 'group', name: 'x', memberIds: [id] }), may: { owner: '403 BLOCKED' }, only: ['owner', 'anonymous'], missing: UNKNOWN_USER },

  // The group breaks up, and sessions end.
  { route: 'POST /api/chats/conversations/{id}/leave', of: 'crew', may: { member: 204, owner: 204 } },
  { route: 'POST /api/auth/logout', body: () => ({}), may: {}, only: ['anonymous'] },
  { route: 'POST /api/auth/logout-all', body: () => ({}), may: {}, only: ['anonymous'] },
];

/** Routes that are for anybody, with or without a token. */
const OPEN = [
  'POST /api/auth/register', 'POST /api/auth/login', 'POST /api/auth/refresh', 'POST /api/auth/reset/request', 'POST /api/auth/reset', 'GET /api/health', 'GET /health', 'GET /api/info', 'GET /api/openapi.json',
];

const talk = (more = {}) => (x, id) => ({ conversationId: id, ...more });
const of = (message) => (more = {}) => (x, id) => ({ conversationId: id, messageId: x.things[message].id, ...more });
const [mine, theirs, mine3, theirs3, ours] = ['mine', 'theirs', 'mine3', 'theirs3', 'ours'].map(of);
const heads = (...names) => (ack, x) => {
  const ids = names.map((name) => x.things[name].id);
  assert.ok(ids.every((id) => id in ack.heads), JSON.stringify(ack.heads));
};
const ok = 'ok';
/** Answered as if it was done; nobody else is told. */
const silent = { silent: true };

// As above. Whoever is not named gets `rest`, PERMISSION_DENIED if nothing else is said, and a socket without a token
// AUTH_REQUIRED.
const EVENTS = [
  { event: 'chat:join', of: 'crew', payload: (x, id) => id, may: { owner: ok, member: ok } },
  { event: 'chat:leave', of: 'crew', payload: (x, id) => id, may: everybody(silent), hidden: ['ex', 'contact', 'blocked', 'stranger'] },
  { event: 'chat:message', of: 'crew', payload: talk({ content: 'x', type: 'text' }), may: { owner: ok, member: ok } },
  { event: 'chat:typing', of: 'crew', payload: talk(), may: { owner: ok, member: ok } },
  { event: 'chat:stopTyping', of: 'crew', payload: talk(), may: { owner: ok, member: ok } },
  { event: 'chat:markRead', of: 'crew', payload: talk({ upTo: 1 }), may: { owner: ok, member: ok } },
  { event: 'chat:markRead', of: 'crew', payload: (x, id) => ({ conversationId: id, messageIds: [x.things.mine.id] }), may: { owner: ok, member: ok } },
  { event: 'chat:markRead', of: 'crew', payload: (x, id) => ({ conversationId: id, messageIds: [x.things.mine.id, x.things.ours.id] }), may: { owner: 'INVALID_DATA', member: 'INVALID_DATA' } },
  { event: 'chat:delivered', of: 'crew', payload: talk({ upTo: 1 }), may: { owner: ok, member: ok } },
  { event: 'chat:edit', of: 'crew', payload: mine({ content: 'edited again' }), may: { owner: ok } },
  { event: 'chat:edit', of: 'crew', payload: theirs({ content: 'edited again' }), may: { member: ok } },
  // A message of another conversation is none of this one.
  { event: 'chat:edit', of: 'crew', payload: ours({ content: 'edited again' }), may: {} },
  { event: 'chat:react', of: 'crew', payload: mine({ emoji: '\u{1f44d}', on: true }), may: { owner: ok, member: ok } },
  { event: 'chat:react', of: 'crew', payload: mine({ emoji: '\u{1f44d}', on: false }), may: { owner: ok, member: ok } },
  { event: 'chat:delete', of: 'crew', payload: ours(), may: {} },
  { event: 'chat:delete', of: 'crew', payload: mine3(), may: { owner: ok } },
  { event: 'chat:delete', of: 'crew', payload: theirs3(), may: { owner: ok, member: ok } },
  { event: 'sync:resume', of: 'crew', payload: (x, id) => ({ cursors: { [id]: 0 } }), may: { ...everybody(silent), owner: { ok: heads('crew', 'pair') }, member: { ok: heads('crew') } }, hidden: ['ex', 'contact', 'blocked', 'stranger'] },

  { event: 'chat:join', of: 'pair', payload: (x, id) => id, may: { owner: ok, blocked: ok } },
  { event: 'chat:message', of: 'pair', payload: talk({ content: 'x', type: 'text' }), may: { owner: 'BLOCKED', blocked: 'USER_UNAVAILABLE' } },
  { event: 'chat:typing', of: 'pair', payload: talk(), may: { owner: silent, blocked: silent } },
  { event: 'chat:stopTyping', of: 'pair', payload: talk(), may: { owner: silent, blocked: silent } },
  { event: 'chat:markRead', of: 'pair', payload: talk({ upTo: 2 }), may: { owner: silent, blocked: silent } },
  { event: 'chat:delivered', of: 'pair', payload: talk({ upTo: 2 }), may: { owner: silent, blocked: silent } },
  { event: 'chat:edit', of: 'pair', payload: ours({ content: 'edited again' }), may: { owner: 'BLOCKED' } },
  { event: 'chat:react', of: 'pair', payload: ours({ emoji: '\u{1f44d}', on: true }), may: { owner: 'BLOCKED', blocked: 'USER_UNAVAILABLE' } },
  { event: 'chat:delete', of: 'pair', payload: ours(), may: {}, only: ['blocked', 'member', 'ex', 'contact', 'stranger', 'anonymous'] },

  { event: 'auth:renew', payload: (x) => ({ token: x.who.owner.token }), may: { ...everybody('UNAUTHORIZED'), owner: ok } },
  { event: 'presence:getOnline', payload: () => undefined, may: {}, only: ['anonymous'] },
  { event: 'presence:set', payload: (x) => ({ state: 'away', userId: x.who.owner.id }), may: everybody(ok) },
  { event: 'hb', payload: () => undefined, may: everybody(silent) },
];

let x;
let server;
let before_;
let marks;
before(async () => {
  server = await target();
  if (needs('objects').skip) return;
  x = await cast(server);
  assert.equal((await x.owner.rest.patch('/api/users/me', { status: 'at home' })).status, 200);
  await settled(async () => (await x.member.rest.get(`/api/chats/conversations/${x.things.crew.id}`)).text, (text) => text.includes('at home'), 'the status');
  before_ = await everything(x);
  marks = Object.fromEntries(Object.entries(x.sockets).map(([name, client]) => [name, client.mark]));
});
after(async () => {
  Object.values(x?.sockets ?? {}).forEach((client) => client.close());
  await server?.stop();
});

const rolesOf = (row) => row.only ?? ROLES;
const name = (row) => `${row.route ?? row.event} ${row.of ?? ''}`.trim();
const object = (row) => x.things[row.of]?.id ?? (row.of === 'session' ? x.things.session : x.who[row.of]?.id);

function request(row, role, id = object(row)) {
  const [method, template] = row.route.split(' ');
  const others = { userId: x.who[row.other]?.id, emoji: THUMB };
  let first = true;
  const path = template.replaceAll(/\{(\w+)\}/g, (_, parameter) => {
    const value = first ? id : others[parameter];
    first = false;
    return value;
  });
  return x.who[role].rest.request(method, path + (row.query?.(x, id) ?? ''), row.body?.(x, id, role));
}

/** What a program can tell two answers apart by. */
const facts = ({ status, text, headers }) => ({ status, text, headers: [...headers].filter(([key]) => !['date', 'x-request-id'].includes(key)).sort() });
const restExpected = (row, role) => row.may[role] ?? (role === 'anonymous' ? NOBODY : row.rest ?? HIDDEN);
const eventExpected = (row, role) => row.may[role] ?? (role === 'anonymous' ? 'AUTH_REQUIRED' : row.rest ?? 'PERMISSION_DENIED');

function isExpected(answer, expected, role) {
  if (typeof expected === 'number') return assert.equal(answer.status, expected, `${role}: ${answer.status} ${answer.text}`);
  const [status, code] = expected.split(' ');
  try {
    isError(answer, Number(status), code);
  } catch (error) {
    error.message = `${role}: ${expected} is expected, not ${answer.status} ${answer.text}`;
    throw error;
  }
}

describe('the tables are whole', () => {
  test('every route of schema/openapi.json has its row', () => {
    const documented = Object.entries(document.paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`));
    assert.deepEqual([...new Set([...REST.map(({ route }) => route), ...OPEN])].sort(), documented.sort());
  });

  test('every event of a client has its row', () => {
    const source = readFileSync(new URL('../../edge/core/src/dialect/chatcall.rs', import.meta.url), 'utf8');
    const known = [...source.matchAll(/Inbound \{ event: "([^"]+)"/g)].map(([, event]) => event);
    assert.ok(known.includes('chat:message'), 'the pattern finds them');
    assert.deepEqual([...new Set(EVENTS.map(({ event }) => event))].sort(), known.sort());
  });
});

describe('refusals: N19, N20, N22, N25, N28', needs('objects'), () => {
  for (const row of REST) {
    test(`${name(row)}${row.other ? ` ${row.other}` : ''}: who may not is told so, or that it is not there`, async () => {
      const missing = {};
      await Promise.all(rolesOf(row).map(async (role) => {
        const expected = row.never?.includes(role) ? quiet(0) : restExpected(row, role);
        if (typeof expected === 'string') isExpected(await request(row, role), expected, role);
        if (expected.quiet) {
          const answer = await request(row, role);
          assert.equal(answer.status, expected.quiet, `${role}: ${answer.text}`);
          expected.check?.(answer.body, x, role);
        }
        if (!row.of) return;
        // The same for an id that nothing has, and for one that is none.
        missing[role] = await request(row, role, MISSING);
        const malformed = row.route.includes('{') ? await request(row, role, '1%20OR%201=1') : missing[role];
        if (role === 'anonymous') isExpected(missing[role], NOBODY, role);
        else if (!row.hidden) isExpected(missing[role], row.missing ?? HIDDEN, role);
        assert.deepEqual(facts(malformed), facts(missing[role]), `N29 ${role}`);
        if (expected === HIDDEN || expected === NOBODY || row.hidden?.includes(role)) assert.deepEqual(facts(await request(row, role)), facts(missing[role]), role);
      }));
      const texts = Object.entries(missing).filter(([role]) => role !== 'anonymous').map(([, { text }]) => text);
      assert.ok(new Set(texts).size <= 1, `what is not there looks the same to all: ${texts}`);
    });
  }

  const call = (client, row, id = object(row)) => {
    const payload = row.payload(x, id);
    return payload === undefined ? client.call(row.event) : client.call(row.event, payload);
  };
  const plain = (ack, id) => JSON.stringify(ack).replaceAll(id ?? MISSING, MISSING);

  for (const row of EVENTS) {
    const { length } = EVENTS.filter((other, n) => other.event === row.event && n < EVENTS.indexOf(row));
    test(`${name(row)}${length ? ` (${length + 1})` : ''}: who may not is told so`, async () => {
      await Promise.all(rolesOf(row).filter((role) => role !== 'anonymous').map(async (role) => {
        const expected = eventExpected(row, role);
        if (expected === ok || expected.ok) return;
        const ack = await call(x.sockets[role], row);
        if (typeof expected === 'string') assert.equal(ack?.error?.code, expected, `${role}: ${JSON.stringify(ack)}`);
        else assert.equal(ack?.error, undefined, `${role}: ${JSON.stringify(ack)}`);
        const outside = row.of && !INSIDE[row.of]?.includes(role);
        if (outside) assert.equal(plain(ack, object(row)), plain(await call(x.sockets[role], row, MISSING)), role);
      }));
    });
  }

  test('a socket without a token: AUTH_REQUIRED for every event, whatever it names', async () => {
    for (const id of [undefined, MISSING]) {
      const client = await connectClient(server.baseUrl, straight);
      const acks = await Promise.all(EVENTS.map((row) => call(client, row, id ?? object(row))));
      acks.forEach((ack, n) => assert.deepEqual(ack, { error: { code: 'AUTH_REQUIRED', message: ack?.error?.message } }, `${name(EVENTS[n])}: ${JSON.stringify(ack)}`));
      assert.equal(new Set(acks.map(({ error }) => error.message)).size, 1);
      client.close();
    }
  });

  test('nothing has changed, and nobody was told of anything', async () => {
    assert.deepEqual(await everything(x), before_);
    // What comes now came behind everything else.
    const { message } = await x.sockets.owner.ok('chat:message', { conversationId: x.things.crew.id, content: 'after all refusals', type: 'text' });
    assert.equal((await x.newcomer.rest.post(`/api/users/contacts/${x.owner.id}`)).status, 201);
    await x.sockets.owner.next('contact:request', ({ user }) => user.id === x.newcomer.id);
    await x.sockets.newcomer.next('contact:updated');
    for (const role of INSIDE.crew) await x.sockets[role].next('chat:message', ({ id }) => id === message.id);
    for (const [role, client] of Object.entries(x.sockets)) {
      await client.call('presence:getOnline');
      const expected = INSIDE.crew.includes(role) ? [`chat:message ${message.id}`] : [];
      if (role === 'owner') expected.push(`contact:request ${x.newcomer.id}`);
      if (role === 'newcomer') expected.push(`contact:updated ${x.owner.id}`);
      // Members hear of what members have read before, as late as some hosts tell it; everybody of the own reading.
      const fellow = ({ conversationId, userId }) => conversationId === x.things.crew.id && INSIDE.crew.includes(role) && INSIDE.crew.some((inside) => x.who[inside].id === userId);
      const usual = ({ name: event, payload }) => ['chat:read', 'chat:receipts'].includes(event) && (payload.userId === x.who[role].id || fellow(payload));
      const heard = client.events.slice(marks[role]).filter((event) => /^(chat|conversation|contact|error|notify)/.test(event.name) && !usual(event));
      const shown = heard.map(({ name: event, payload }) => `${event} ${payload.id ?? payload.user?.id ?? payload.userId}`);
      assert.deepEqual(shown.sort(), expected.sort(), `${role}: ${JSON.stringify(heard.slice(0, 3))}`);
    }
  });

  test('C-19 whoever may not know who is online does not', async () => {
    const seen = async (role) => (await x.sockets[role].call('presence:getOnline')).includes(x.owner.id);
    for (const role of ['member', 'contact']) await settled(() => seen(role), (sees) => sees, role);
    for (const role of ['ex', 'blocked', 'stranger']) assert.equal(await seen(role), false, role);
  });
});

describe('what is allowed, as the rows say', needs('objects'), () => {
  for (const row of EVENTS) {
    const allowed = ROLES.filter((role) => row.may[role] === ok || row.may[role]?.ok);
    if (!allowed.length) continue;
    test(`${name(row)}: ${allowed.join(', ')}`, async () => {
      for (const role of allowed) {
        const ack = await x.sockets[role].ok(row.event, row.payload(x, object(row)));
        row.may[role].ok?.(ack, x);
      }
    });
  }

  for (const row of REST) {
    const status = (role) => row.may[role].done ?? row.may[role];
    const allowed = Object.keys(row.may).filter((role) => typeof status(role) === 'number' && !row.never?.includes(role));
    if (!allowed.length) continue;
    test(`${name(row)}${row.other ? ` ${row.other}` : ''}: ${allowed.join(', ')}`, async () => {
      for (const role of allowed) {
        const answer = await request(row, role);
        isExpected(answer, status(role), role);
        row.may[role].check?.(answer.body, x, role);
      }
    });
  }
});
