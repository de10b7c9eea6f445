// Finding people, profiles of others, contacts and blocks with their events. R-05..R-07, G-03, G-19, E-051, E-052, N29, N31, N32.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { direct, group, people, person, send } from '../support/people.mjs';
import { isError, isId, isTime } from '../support/shapes.mjs';
import { straight } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const ask = (a, b) => a.rest.post(`/api/users/contacts/${b.id}`);
const answer = (a, b, status) => a.rest.patch(`/api/users/contacts/${b.id}`, { status });
const remove = (a, b) => a.rest.delete(`/api/users/contacts/${b.id ?? b}`);
const search = (who, q) => who.rest.get(`/api/users/search?q=${encodeURIComponent(q)}`);
const ids = ({ body }) => body.map(({ id }) => id);
const contacts = async (who, path = '') => {
  const list = await who.rest.get(`/api/users/contacts${path}`);
  assert.equal(list.status, 200, list.text);
  return list.body;
};
const befriend = async (a, b) => {
  await ask(a, b);
  assert.equal((await answer(b, a, 'accepted')).status, 200);
};
/** A word that nobody else's name contains. */
const word = () => `q${randomBytes(6).toString('hex')}`;
const rename = async (who, change) => assert.equal((await who.rest.patch('/api/users/me', change)).status, 200);

describe('R-05 search', () => {
  test('R-05 prefixes come first, names and display names count, without regard to case; never oneself', async () => {
    const [ann, a, b, c, d] = await people(server, 'ann', 'a', 'b', 'c', 'd');
    const text = word();
    await rename(ann, { username: `${text}.self` });
    await rename(a, { username: `x${text}` });
    await rename(b, { username: `${text}-z` });
    await rename(c, { display_name: `${text} Family` });
    await rename(d, { display_name: `The ${text}` });
    const found = await search(ann, text.toUpperCase());
    assert.equal(found.status, 200);
    assert.deepEqual(ids(found).slice(0, 2).sort(), [b.id, c.id].sort());
    assert.deepEqual(ids(found).slice(2).sort(), [a.id, d.id].sort());
    for (const row of found.body) assert.deepEqual(Object.keys(row).sort(), ['avatar_url', 'id', 'status', 'username']);
  });

  test('N29 N31 % and _ are taken literally; an e-mail finds nobody', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const text = word();
    await rename(bob, { username: `${text}_1` });
    assert.deepEqual(ids(await search(ann, `${text}_`)), [bob.id]);
    for (const none of [`${text}%`, `%${text}`, `${text.slice(0, 5)}%1`, `${text}__`, `${text}*`, '\\\\', `${text}_2`, bob.email, "' OR 1=1 --"]) {
      const found = await search(ann, none);
      assert.equal(found.status, 200, none);
      assert.ok(!ids(found).includes(bob.id), none);
      assert.doesNotMatch(found.text, /test\.invalid/);
    }
  });

  for (const q of ['', 'x', '%', ' x ', '%%', '__', '%_', '**', '?*', '_ %', 'x'.repeat(51), 'a\u0000b']) {
    test(`N31 ${JSON.stringify(q.slice(0, 5))} of ${q.length} characters is 400`, async () => {
      isError(await search(await person(server, 'ann'), q), 400, 'INVALID_DATA', { field: 'q' });
    });
  }

  test('R-05 at most 20; without q: 400; without a token: 401', async () => {
    const [ann, ...others] = await Promise.all(Array.from({ length: 23 }, () => person(server, 'crowd-of-people')));
    assert.ok(others.length === 22);
    assert.equal((await search(ann, 'crowd-of')).body.length, 20);
    isError(await ann.rest.get('/api/users/search'), 400, 'INVALID_DATA', { field: 'q' });
    ann.rest.token = null;
    isError(await search(ann, 'crowd'), 401, 'UNAUTHORIZED');
  });
});

describe('G-19', () => {
  test('G-19 is the public user', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await rename(bob, { status: 'at lunch', display_name: 'Bob B.', bio: 'private' });
    const shown = await ann.rest.get(`/api/users/${bob.id}`);
    assert.equal(shown.status, 200);
    assert.deepEqual(shown.body, { id: bob.id, username: bob.username, display_name: 'Bob B.', avatar_url: null, status: 'at lunch' });
  });

  test('G-19 nobody is the same 404 for every id', async () => {
    const ann = await person(server, 'ann');
    const missing = await ann.rest.get(`/api/users/${randomUUID()}`);
    isError(missing, 404, 'USER_NOT_FOUND');
    for (const id of ['0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d', 'nobody', '1%20OR%201=1']) {
      assert.equal((await ann.rest.get(`/api/users/${id}`)).text, missing.text);
    }
  });
});

test('N32 e-mail, mobile and gender of others are in no answer, whoever asks', needs('objects'), async () => {
  const [ann, bob, friend] = await people(server, 'ann', 'bob', 'friend');
  const secret = { email: bob.email, mobile: `+49${word()}`, gender: word(), user_type: word() };
  const { email, ...profile } = secret;
  await rename(bob, { profile });
  await befriend(friend, bob);
  const talk = await group(bob, [ann, friend]);
  const pair = await direct(ann, bob);
  await send(bob, talk.id, 'hello');
  const client = await ann.connect(straight);
  const shown = [await client.ok('chat:join', talk.id), await client.resume({ [talk.id]: 0, [pair.id]: 0 })];
  const conversations = ['', `/${talk.id}`, `/${talk.id}/messages`, `/${talk.id}/events?after=0`, `/${pair.id}`].map((path) => `/api/chats/conversations${path}`);
  for (const who of [ann, friend]) {
    for (const path of [`/api/users/${bob.id}`, `/api/users/search?q=${bob.username}`, '/api/users/contacts', '/api/users/contacts/pending', '/api/users/contacts/blocked', ...conversations, '/api/chats/search?q=hello']) {
      shown.push((await who.rest.get(path)).text);
    }
  }
  // The directory, where a host has it: everything of others is null there.
  for (const query of ['', `?q=${bob.username}`, `?q=${encodeURIComponent(email)}`]) shown.push((await ann.rest.get(`/api/chat/users${query}`)).text);
  assert.ok(shown.filter((text) => JSON.stringify(text).includes(bob.id)).length > 8, 'bob is shown at all');
  shown.push(client.events);
  for (const [name, value] of Object.entries(secret)) assert.ok(!JSON.stringify(shown).includes(value), name);
  client.close();
});

describe('contacts', needs('objects'), () => {
  test('R-06 both sides list the contact, with presence', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    await befriend(ann, bob);
    await ask(ann, eve);
    const row = (who, presence) => ({ id: who.id, username: who.username, display_name: who.username, avatar_url: null, status: '', presence });
    assert.deepEqual(await contacts(ann), [row(bob, 'offline')]);
    assert.deepEqual(await contacts(bob), [row(ann, 'offline')]);
    assert.deepEqual(await contacts(eve), []);
    const b = await bob.connect(straight);
    assert.deepEqual(await contacts(ann), [row(bob, 'online')]);
    b.close();
  });

  test('R-07 requests wait on both sides until they are answered', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await ask(ann, bob);
    const [request] = await contacts(bob, '/pending');
    assert.deepEqual(Object.keys(request).sort(), ['avatar_url', 'created_at', 'id', 'username']);
    isId(request.id);
    isTime(request.created_at);
    assert.equal(request.username, ann.username);
    assert.deepEqual((await contacts(ann, '/pending?direction=out')).map(({ id }) => id), [bob.id]);
    assert.deepEqual(await contacts(ann, '/pending?direction=in'), []);
    isError(await ann.rest.get('/api/users/contacts/pending?direction=sideways'), 400, 'INVALID_DATA', { field: 'direction' });
    await answer(bob, ann, 'declined');
    assert.deepEqual([await contacts(bob, '/pending'), await contacts(ann, '/pending?direction=out'), await contacts(ann)], [[], [], []]);
  });

  test('G-03 removes a contact, cancels a request, and is 204 when there was nothing', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await befriend(ann, bob);
    assert.equal((await remove(ann, bob)).status, 204);
    assert.deepEqual([await contacts(ann), await contacts(bob)], [[], []]);
    await ask(ann, bob);
    assert.equal((await remove(ann, bob)).status, 204);
    assert.deepEqual(await contacts(bob, '/pending'), []);
    assert.equal((await answer(bob, ann, 'accepted')).status, 404);
    for (const nothing of [bob, randomUUID(), 'nobody', ann]) assert.equal((await remove(ann, nothing)).status, 204);
    assert.equal((await ask(ann, bob)).status, 201, 'one may ask again');
  });

  test('G-03 N31 the one blocked sees a bare profile, finds nobody, and everything is back after the end of the block', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const text = word();
    await rename(ann, { username: text, status: 'here' });
    const talk = await direct(ann, bob);
    await send(bob, talk.id, 'before');
    await answer(ann, bob, 'blocked');
    const [row] = await contacts(ann, '/blocked');
    assert.deepEqual([row.id, row.username, row.avatar_url], [bob.id, bob.username, null]);
    isTime(row.created_at);
    assert.deepEqual((await search(bob, text)).body, []);
    assert.deepEqual((await bob.rest.get(`/api/users/${ann.id}`)).body, { id: ann.id, username: text, display_name: text, avatar_url: null, status: '' });
    assert.deepEqual(await contacts(bob, '/blocked'), []);
    assert.equal((await ask(bob, ann)).status, 201);
    assert.deepEqual(await contacts(ann, '/pending'), []);

    assert.equal((await remove(ann, bob)).status, 204);
    assert.deepEqual(await contacts(ann, '/blocked'), []);
    assert.deepEqual(ids(await search(bob, text)), [ann.id]);
    assert.equal((await bob.rest.get(`/api/users/${ann.id}`)).body.status, 'here');
    await send(bob, talk.id, 'after');
    await send(ann, talk.id, 'too');
    assert.equal((await ask(bob, ann)).status, 201, 'what was asked in vain is asked again');
    assert.deepEqual((await contacts(ann, '/pending')).map(({ id }) => id), [bob.id]);
  });

  test('G-03 who is blocked by one and blocks back: either end of a block leaves the other', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    await answer(ann, bob, 'blocked');
    await answer(bob, ann, 'blocked');
    await remove(ann, bob);
    const path = `/api/chats/conversations/${talk.id}/messages`;
    isError(await ann.rest.post(path, { content: 'x', type: 'text' }), 409, 'USER_UNAVAILABLE');
    isError(await bob.rest.post(path, { content: 'x', type: 'text' }), 403, 'BLOCKED');
    await remove(bob, ann);
    await send(ann, talk.id, 'x');
  });
});

describe('events', { ...needs('objects'), concurrency: 4 }, () => {
  const is = (who, status) => (event) => event.userId === who.id && event.status === status;

  test('E-051 E-052 every device of both sides hears of a request and of its answer', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await rename(ann, { display_name: 'Ann A.', status: 'hi' });
    const clients = await Promise.all([ann, ann, bob, bob].map((who) => who.connect(straight)));
    const [a1, a2, b1, b2] = clients;
    await ask(ann, bob);
    for (const b of [b1, b2]) {
      const { user, created_at: at, ...rest } = await b.next('contact:request');
      assert.deepEqual(user, { id: ann.id, username: ann.username, display_name: 'Ann A.', avatar_url: null, status: 'hi' });
      isTime(at);
      assert.deepEqual(rest, {});
    }
    for (const a of [a1, a2]) assert.deepEqual(await a.next('contact:updated'), { userId: bob.id, status: 'pending' });
    await answer(bob, ann, 'accepted');
    for (const a of [a1, a2]) await a.next('contact:updated', is(bob, 'accepted'));
    for (const b of [b1, b2]) await b.next('contact:updated', is(ann, 'accepted'));
    await remove(ann, bob);
    for (const a of [a1, a2]) await a.next('contact:updated', is(bob, 'none'));
    for (const b of [b1, b2]) await b.next('contact:updated', is(ann, 'none'));
    for (const client of clients) client.close();
  });

  test('E-052 declined and cancelled', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const [a, b] = [await ann.connect(straight), await bob.connect(straight)];
    await ask(ann, bob);
    await answer(bob, ann, 'declined');
    await a.next('contact:updated', is(bob, 'declined'));
    await b.next('contact:updated', is(ann, 'declined'));
    await ask(ann, bob);
    await remove(ann, bob);
    await a.next('contact:updated', is(bob, 'none'));
    await b.next('contact:updated', is(ann, 'none'));
    [a, b].forEach((client) => client.close());
  });

  test('E-052 a block is told to one\'s own devices; to the other it looks like a removal, or like nothing', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    await befriend(ann, bob);
    const [a, b, e] = await Promise.all([ann, bob, eve].map((who) => who.connect(straight)));
    await answer(ann, bob, 'blocked');
    await a.next('contact:updated', is(bob, 'blocked'));
    await b.next('contact:updated', is(ann, 'none'));
    await answer(ann, eve, 'blocked');
    await a.next('contact:updated', is(eve, 'blocked'));
    await ask(eve, ann);
    await a.none('contact:request');
    await e.none('contact:updated', ({ status }) => status !== 'pending', { ms: 100 });
    await remove(ann, eve);
    await a.next('contact:updated', is(eve, 'none'));
    assert.equal(b.all('contact:updated', ({ status }) => status === 'blocked').length, 0);
    [a, b, e].forEach((client) => client.close());
  });
});
