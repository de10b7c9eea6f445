// The own profile and settings, and where others see them. G-02, G-20, N14, V-22.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { direct, group, people, person, send, unique } from '../support/people.mjs';
import { isError, isOwnUser } from '../support/shapes.mjs';
import { straight } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const change = (who, body) => who.rest.patch('/api/users/me', body);

describe('G-02', () => {
  test('G-02 answers the own record with what was named, and nothing else changes', async () => {
    const ann = await person(server, 'ann');
    const username = unique('anna');
    const answer = await change(ann, { username, status: 'at lunch', bio: 'one\ntwo', unknown: 1, profile: { mobile: '+49 1', gender: 'f', user_type: 'guest' } });
    assert.equal(answer.status, 200, answer.text);
    isOwnUser(answer.body);
    const { email, role } = (await ann.rest.get('/api/auth/me')).body;
    assert.deepEqual([answer.body.username, answer.body.display_name, answer.body.status, answer.body.bio, answer.body.email], [username, username, 'at lunch', 'one\ntwo', email]);
    const next = await change(ann, { display_name: 'Ann A.', status: '' });
    assert.deepEqual([next.body.username, next.body.display_name, next.body.status, next.body.bio, next.body.role], [username, 'Ann A.', '', 'one\ntwo', role]);
    assert.deepEqual((await ann.rest.get('/api/auth/me')).body, next.body);
    assert.equal((await ann.login()).id, ann.id);
  });

  test('N14 role, id, password_hash and the like are never stored', async () => {
    const [, ann] = await people(server, 'first', 'ann');
    await person(server, 'other');
    const before = (await ann.rest.get('/api/auth/me')).body;
    const answer = await change(ann, { role: 'admin', id: '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d', password_hash: '$2b$12$x', token_version: 9, disabled_at: 1, created_at: 1 });
    assert.ok([200, 400].includes(answer.status), answer.text);
    assert.deepEqual((await ann.rest.get('/api/auth/me')).body, before);
    await ann.login();
  });

  for (const [name, body, field] of [
    ['a name with a space', { username: 'a b' }, 'username'], ['an empty name', { username: '' }, 'username'], ['a name of 51 characters', { username: 'n'.repeat(51) }, 'username'], ['an object as name', { username: { $gt: '' } }, 'username'],
    ['an empty display name', { display_name: ' ' }, 'display_name'], ['a display name of 51 characters', { display_name: 'n'.repeat(51) }, 'display_name'], ['a control character', { display_name: 'a\u0007' }, 'display_name'],
    ['a status of 201 characters', { status: 's'.repeat(201) }, 'status'], ['a number as status', { status: 1 }, 'status'], ['an array as bio', { bio: ['x'] }, 'bio'], ['a bio of 1,001 characters', { bio: 'b'.repeat(1_001) }, 'bio'],
    ['no e-mail', { email: 'nobody' }, 'email'], ['a list as profile', { profile: [] }, 'profile'], ['a number in the profile', { profile: { mobile: 1 } }, 'profile.mobile'],
  ]) {
    test(`V-22 N29 ${name} is 400 and names the field`, async () => {
      isError(await change(await person(server, 'ann'), body), 400, 'INVALID_DATA', { field });
    });
  }

  test('V-22 lengths are counted in characters', async () => {
    const answer = await change(await person(server, 'ann'), { status: '\u{1f600}'.repeat(200), display_name: '\u20ac'.repeat(50) });
    assert.equal(answer.status, 200, answer.text);
  });

  test('G-02 a name that is taken is 409, also in capitals; one\'s own in capitals is not', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    isError(await change(ann, { username: bob.username.toUpperCase(), status: 'x' }), 409, 'CONFLICT', { field: 'username' });
    assert.equal((await ann.rest.get('/api/auth/me')).body.status, '');
    assert.equal((await change(ann, { username: ann.username.toUpperCase() })).status, 200);
  });

  test('G-02 an e-mail address changes with the current password only', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const email = `${unique('New')}@Test.invalid`;
    isError(await change(ann, { email }), 403, 'REAUTH_REQUIRED');
    isError(await change(ann, { email, currentPassword: 'wrong' }), 403, 'REAUTH_REQUIRED');
    isError(await change(ann, { email, currentPassword: 1 }), 400, 'INVALID_DATA', { field: 'currentPassword' });
    isError(await change(ann, { email: bob.email.toUpperCase(), currentPassword: ann.password }), 409, 'CONFLICT', { field: 'email' });
    assert.equal((await change(ann, { email, currentPassword: ann.password })).body.email, email.toLowerCase());
    ann.email = email;
    await ann.login();
  });

  test('without a token: 401', async () => {
    const ann = await person(server, 'ann');
    ann.rest.token = null;
    isError(await change(ann, { status: 'x' }), 401, 'UNAUTHORIZED');
    isError(await ann.rest.get('/api/users/me/settings'), 401, 'UNAUTHORIZED');
  });
});

describe('names in conversations', needs('objects'), () => {
  test('G-02 lists, history, members and new messages have the new name, whatever the token says', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const crew = await group(bob, [ann]);
    await send(ann, talk.id, 'before');
    const [a, b] = [await ann.connect(straight), await bob.connect(straight)];
    await b.ok('chat:join', crew.id);
    const username = unique('anna');
    assert.equal((await change(ann, { username, display_name: 'Anna', status: 'new' })).status, 200);

    for (const conversation of (await bob.rest.get('/api/chats/conversations')).body) {
      const { username: shown, display_name: name, status } = conversation.members.find(({ id }) => id === ann.id);
      assert.deepEqual([shown, name, status], [username, 'Anna', 'new']);
      if (conversation.id === talk.id) assert.equal(conversation.lastMessage.sender_username, username);
    }
    for (const { id } of [talk, crew]) {
      const { members } = await b.ok('chat:join', id);
      const shown = members.find((member) => member.id === ann.id);
      assert.deepEqual([shown.username, shown.display_name, shown.status], [username, 'Anna', 'new']);
    }
    const history = await bob.rest.get(`/api/chats/conversations/${talk.id}/messages`);
    assert.deepEqual(history.body.map((message) => message.sender_username), [username]);

    await a.ok('chat:message', { conversationId: talk.id, content: 'after', type: 'text' });
    assert.equal((await b.next('chat:message', ({ content }) => content === 'after')).sender_username, username);
    await send(ann, crew.id, 'by REST');
    assert.equal((await b.next('chat:message', ({ content }) => content === 'by REST')).sender_username, username);
    await a.ok('chat:join', crew.id);
    a.emit('chat:typing', { conversationId: crew.id });
    assert.equal((await b.next('chat:typing')).username, username);
    [a, b].forEach((client) => client.close());
  });

  test('G-02 of several changes the last one stays', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    for (let n = 1; n <= 5; n += 1) assert.equal((await change(ann, { status: `${n}` })).status, 200);
    await Promise.all(Array.from({ length: 5 }, (_, n) => change(ann, { display_name: `Ann ${n}` })));
    const wanted = (await ann.rest.get('/api/auth/me')).body;
    const b = await bob.connect(straight);
    const { members } = await b.ok('chat:join', talk.id);
    const shown = members.find(({ id }) => id === ann.id);
    assert.deepEqual([shown.status, shown.display_name], ['5', wanted.display_name]);
    b.close();
  });
});

describe('readReceipts', needs('objects'), () => {
  const read = (who, talk) => who.ok('chat:markRead', { conversationId: talk.id, upTo: 1 });
  const marks = async (who, talk) => (await who.ok('chat:join', talk.id)).members;
  const readers = async (who, talk) => (await who.rest.get(`/api/chats/conversations/${talk.id}/messages`)).body[0].read_by;

  test('7 whoever turned them off neither sends nor sees read marks, until they are on again', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const talk = await group(ann, [bob, eve]);
    await send(ann, talk.id, 'x');
    const answer = await bob.rest.patch('/api/users/me/settings', { readReceipts: false });
    assert.equal(answer.status, 200, answer.text);
    const [a, b, b2, e] = await Promise.all([ann, bob, bob, eve].map((who) => who.connect(straight)));
    await read(b, talk);
    await b2.next('chat:read', ({ userId, upTo }) => userId === bob.id && upTo === 1);
    await read(e, talk);
    await a.next('chat:read', ({ userId }) => userId === eve.id);
    for (const client of [a, e]) {
      assert.deepEqual(client.all('chat:read', ({ userId }) => userId === bob.id), []);
      assert.deepEqual(client.all('chat:receipts', ({ userId, readSeq }) => userId === bob.id && readSeq > 0), []);
    }
    await b.none('chat:read', ({ userId }) => userId === eve.id, { ms: 200 });
    const seqs = async (client) => Object.fromEntries((await marks(client, talk)).map(({ id, read_seq: seq }) => [id, seq]));
    assert.deepEqual(await seqs(a), { [ann.id]: 0, [bob.id]: 0, [eve.id]: 1 });
    assert.deepEqual(await seqs(b), { [ann.id]: 0, [bob.id]: 1, [eve.id]: 0 });
    assert.deepEqual([await readers(ann, talk), await readers(bob, talk)], [[eve.id], []]);
    const listed = async (who) => (await who.rest.get('/api/chats/conversations')).body[0];
    assert.equal((await listed(ann)).members.find(({ id }) => id === bob.id).read_seq, 0);

    const later = await group(bob, [ann], 'Later');
    await send(ann, later.id, 'y');
    await read(b, later);
    assert.equal((await a.ok('chat:join', later.id)).members.find(({ id }) => id === bob.id).read_seq, 0, 'in new conversations too');

    await bob.rest.patch('/api/users/me/settings', { readReceipts: true });
    assert.deepEqual((await readers(ann, talk)).sort(), [bob.id, eve.id].sort());
    assert.equal((await seqs(b))[eve.id], 1);
    [a, b, b2, e].forEach((client) => client.close());
  });
});

describe('G-20', () => {
  const defaults = { quietHours: null, sounds: true, locale: null, theme: 'system', readReceipts: true };
  const set = (who, body) => who.rest.patch('/api/users/me/settings', body);

  test('G-20 settings are complete, kept, and merged', async () => {
    const ann = await person(server, 'ann');
    assert.deepEqual((await ann.rest.get('/api/users/me/settings')).body, defaults);
    const quietHours = { from: '22:00', to: '07:00', timezone: 'Europe/Berlin' };
    const answer = await set(ann, { quietHours, sounds: false, locale: 'de-DE', theme: 'dark' });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.body, { ...defaults, quietHours, sounds: false, locale: 'de-DE', theme: 'dark' });
    assert.deepEqual((await set(ann, { theme: 'light' })).body, { ...answer.body, theme: 'light' });
    assert.deepEqual((await set(ann, { quietHours: null, locale: null })).body, { ...defaults, sounds: false, theme: 'light' });
    assert.deepEqual((await (await ann.login()).rest.get('/api/users/me/settings')).body, { ...defaults, sounds: false, theme: 'light' });
    assert.deepEqual((await (await person(server, 'bob')).rest.get('/api/users/me/settings')).body, defaults);
  });

  for (const [body, field] of [
    [{ role: 'admin' }, 'role'], [{ sounds: 'loud' }, 'sounds'], [{ theme: 'pink' }, 'theme'], [{ locale: 7 }, 'locale'], [{ readReceipts: 'no' }, 'readReceipts'], [{ quietHours: {} }, 'quietHours'],
    [{ quietHours: { from: '25:00', to: '07:00' } }, 'quietHours'], [{ quietHours: { from: '22:00', to: '07:00', x: 1 } }, 'quietHours'], [{ quietHours: '22-7' }, 'quietHours'],
  ]) {
    test(`G-20 ${JSON.stringify(body)} is 400 and names the key; nothing is stored`, async () => {
      const ann = await person(server, 'ann');
      isError(await set(ann, { sounds: false, ...body }), 400, 'INVALID_DATA', { field });
      assert.deepEqual((await ann.rest.get('/api/users/me/settings')).body, defaults);
    });
  }
});
