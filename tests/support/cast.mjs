// Everybody whom a permission tells apart, around one group and one direct conversation; each with a socket.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, group, people, send, unique } from './people.mjs';
import { Rest } from './rest.mjs';
import { straight } from './sockets.mjs';

/**
 * Whoever asks, seen from the owner: oneself, a fellow member of the group, a former one, a contact, somebody whom the
 * owner has blocked, somebody unknown, and whoever has no token.
 */
export const ROLES = ['owner', 'member', 'ex', 'contact', 'blocked', 'stranger', 'anonymous'];
/** They are members of each. The direct conversation is older than the block. */
export const INSIDE = { crew: ['owner', 'member', 'spare'], pair: ['owner', 'blocked'] };

/** An id that nobody and nothing has. */
export const MISSING = '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d';

const CONVERSATIONS = '/api/chats/conversations';
const done = (answer) => { assert.ok(answer.status < 300, `${answer.status} ${answer.text}`); return answer.body; };

/** Asks until `wanted` holds: what a conversation tells the lists may be some seconds behind. */
export async function settled(ask, wanted, what, ms = 10_000) {
  for (const end = Date.now() + ms; ; await sleep(50)) {
    const found = await ask();
    if (wanted(found)) return found;
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(found)}`);
  }
}

/** @returns the people by role, and `crew`, `pair`, messages, `word` and `session` to act upon */
export async function cast(server) {
  const names = ['owner', 'member', 'ex', 'contact', 'blocked', 'stranger', 'spare', 'newcomer'];
  const all = await people(server, ...names);
  const who = Object.fromEntries(names.map((name, n) => [name, all[n]]));
  const { owner, member, ex, contact, blocked, spare } = who;
  const crew = await group(owner, [member, ex, spare]);
  const pair = await direct(owner, blocked);
  const word = unique('word');
  const say = async (from, talk, content = 'x') => ({ ...(await send(from, talk.id, content)), talk });
  const made = { crew, pair, word };
  // The first of each is read, edited and reacted to, the others are deleted: by a request and by an event.
  for (const [name, from, talk, content] of [
    ['mine', owner, crew, word], ['theirs', member, crew], ['mine2', owner, crew], ['theirs2', member, crew], ['mine3', owner, crew], ['theirs3', member, crew], ['ours', owner, pair, word], ['ours2', owner, pair],
  ]) made[name] = await say(from, talk, content);
  // Everybody has got and read everything: no mark rises later by itself.
  const read = async (name, talk, upTo) => done(await who[name].rest.post(`${CONVERSATIONS}/${talk.id}/read`, { upTo }));
  for (const name of INSIDE.crew) await read(name, crew, 6);
  for (const name of INSIDE.pair) await read(name, pair, 2);
  done(await owner.rest.delete(`${CONVERSATIONS}/${crew.id}/members/${ex.id}`));
  done(await owner.rest.post(`/api/users/contacts/${contact.id}`));
  done(await contact.rest.patch(`/api/users/contacts/${owner.id}`, { status: 'accepted' }));
  done(await owner.rest.patch(`/api/users/contacts/${blocked.id}`, { status: 'blocked' }));
  const phone = await owner.login();
  made.session = done(await phone.rest.get('/api/auth/sessions')).find(({ current }) => current).id;
  who.anonymous = { rest: new Rest(server.baseUrl) };

  const sockets = {};
  await Promise.all(names.map(async (name) => { sockets[name] = await who[name].connect(straight); }));
  // Typing reaches those who have the conversation open.
  for (const talk of ['crew', 'pair']) for (const name of INSIDE[talk]) await sockets[name].ok('chat:join', made[talk].id);
  for (const name of INSIDE.crew) await read(name, crew, 7);
  for (const name of ROLES.slice(0, -1)) {
    const talks = ['crew', 'pair'].filter((talk) => INSIDE[talk].includes(name)).map((talk) => made[talk].id).sort().join();
    const ask = async () => done(await who[name].rest.get(CONVERSATIONS)).map(({ id }) => id).sort().join();
    await settled(ask, (ids) => ids === talks, `conversations of ${name}`);
  }
  const unread = async () => (await Promise.all([crew, pair].map(async ({ id }) => done(await owner.rest.get(`${CONVERSATIONS}/${id}`)).unreadCount))).join();
  await settled(unread, (counts) => counts === '0,0', 'unread messages');
  const found = async () => done(await owner.rest.get(`/api/chats/search?q=${word}`)).hits.length;
  await settled(found, (hits) => hits === 2, 'messages found', 20_000);
  return { ...who, who, sockets, things: made };
}

/** Everything that others could have changed, as the owner sees it. */
export async function everything({ owner, things: { crew, pair } }) {
  const paths = ['/api/auth/me', '/api/users/me/settings', '/api/users/contacts/blocked', '/api/users/contacts/pending', '/api/users/contacts/pending?direction=out'];
  for (const { id } of [crew, pair]) paths.push(...['', '/messages', '/events?after=0'].map((rest) => `${CONVERSATIONS}/${id}${rest}`));
  const bodies = {};
  for (const path of paths) bodies[path] = done(await owner.rest.get(path));
  bodies.contacts = done(await owner.rest.get('/api/users/contacts')).map(({ id }) => id);
  bodies.sessions = done(await owner.rest.get('/api/auth/sessions')).map(({ id }) => id).sort();
  return bodies;
}
