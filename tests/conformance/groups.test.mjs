// Group life: who may do what, what everybody is told of it, and what reaches those who went. G-04, G-10, G-21, E-041..E-045, N19, N20, N22, N25.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Rest } from '../support/rest.mjs';
import { direct, group, listed, people, send } from '../support/people.mjs';
import { isConversation, isError, isId, isMember, isMessage } from '../support/shapes.mjs';
import { straight, TRANSPORTS } from '../support/sockets.mjs';
import { external, needs, target } from '../support/target.mjs';

const PATH = '/api/chats/conversations';
const MISSING = '0195f09e-6c3e-7b1a-9d52-0d6f0a1b2c3d';
let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const at = (talk, rest = '') => `${PATH}/${talk.id ?? talk}${rest}`;
const rename = (who, talk, name) => who.rest.patch(at(talk), { name });
const add = (who, talk, ...others) => who.rest.post(at(talk, '/members'), { userIds: others.map(({ id }) => id) });
const remove = (who, talk, other) => who.rest.delete(at(talk, `/members/${other.id}`));
const role = (who, talk, other, word) => who.rest.patch(at(talk, `/members/${other.id}`), { role: word });
const leave = (who, talk) => who.rest.post(at(talk, '/leave'));
const show = (who, talk) => who.rest.get(at(talk));
const done = (answer, status = 200) => { assert.equal(answer.status, status, answer.text); return answer.body; };
const roles = (conversation) => Object.fromEntries(conversation.members.map(({ id, role: word }) => [id, word]));
const exactly = (object, keys) => assert.deepEqual(Object.keys(object).sort(), [...keys].sort());
const text = (conversationId, content) => ({ conversationId, content, type: 'text' });
const ofTalk = (talk) => (event) => (event?.conversationId ?? event?.conversation_id ?? event?.conversation?.id) === talk.id;

/** Events of a conversation that a client has got, as `name:seq`. */
const heard = (client, talk, from = 0) => client.events.slice(from).filter(({ payload }) => ofTalk(talk)(payload)).map(({ name, payload }) => (payload.seq ? `${name}:${payload.seq}` : name));

/** owner, admin, member and other in a group that ex was removed from; stranger never was in it. */
async function crew(who, others = []) {
  const talk = await group(who.owner, [who.admin, who.member, who.other, who.ex, ...others]);
  done(await role(who.owner, talk, who.admin, 'admin'));
  await send(who.owner, talk.id, 'first');
  done(await remove(who.owner, talk, who.ex));
  return talk;
}

async function cast() {
  const names = ['owner', 'admin', 'member', 'other', 'ex', 'stranger', 'newcomer'];
  const all = await people(server, ...names);
  const who = Object.fromEntries(names.map((name, n) => [name, all[n]]));
  who.anonymous = { rest: new Rest(server.baseUrl) };
  return who;
}

describe('who may do what', needs('objects'), () => {
  let who;
  before(async () => { who = await cast(); });
  const table = [
    ['G-21 GET', (one, talk) => show(one, talk), [200, 200, 200]],
    ['G-04 PATCH', (one, talk) => rename(one, talk, 'Renamed'), [200, 200, 403]],
    ['G-04 POST members', (one, talk) => add(one, talk, who.newcomer), [200, 200, 403]],
    ['G-04 DELETE member', (one, talk) => remove(one, talk, who.other), [200, 200, 403]],
    ['G-04 PATCH member', (one, talk) => role(one, talk, who.other, 'admin'), [200, 403, 403]],
    ['G-04 POST leave', (one, talk) => leave(one, talk), [204, 204, 204]],
    ['G-04 PATCH me', (one, talk) => one.rest.patch(at(talk, '/me'), { level: 'mentions' }), [204, 204, 204]],
    ['G-10 POST read', (one, talk) => one.rest.post(at(talk, '/read'), { upTo: 1 }), [200, 200, 200]],
    ['R-12 GET messages', (one, talk) => one.rest.get(at(talk, '/messages')), [200, 200, 200]],
    ['G-23 GET events', (one, talk) => one.rest.get(at(talk, '/events?after=0')), [200, 200, 200]],
    ['G-22 POST messages', (one, talk) => one.rest.post(at(talk, '/messages'), { content: 'x', type: 'text' }), [201, 201, 201]],
  ];
  for (const [name, ask, allowed] of table) {
    test(`${name}: owner, admin, member ${allowed.join(', ')}; N19 N25 ex-member and stranger as if it were not there; anonymous 401`, async () => {
      for (const [n, kind] of ['owner', 'admin', 'member'].entries()) {
        const answer = await ask(who[kind], await crew(who));
        if (allowed[n] === 403) isError(answer, 403, 'PERMISSION_DENIED');
        assert.equal(answer.status, allowed[n], `${kind}: ${answer.text}`);
      }
      const talk = await crew(who);
      for (const kind of ['ex', 'stranger']) {
        const [foreign, missing] = [await ask(who[kind], talk), await ask(who[kind], { id: MISSING })];
        isError(foreign, 404, 'NOT_FOUND');
        assert.equal(foreign.text, missing.text, kind);
      }
      isError(await ask(who.anonymous, talk), 401, 'UNAUTHORIZED');
      const unchanged = done(await show(who.owner, talk));
      assert.equal(unchanged.name, 'Crew');
      assert.deepEqual(roles(unchanged), { [who.owner.id]: 'owner', [who.admin.id]: 'admin', [who.member.id]: 'member', [who.other.id]: 'member' });
      assert.equal((await who.owner.rest.get(at(talk, '/messages'))).body.length, 1);
    });
  }

  test('N20 N22 events of ex-members and strangers: PERMISSION_DENIED, nobody hears of them, and they hear nothing', { ...needs('objects'), timeout: 30_000 }, async () => {
    const talk = await crew(who);
    const o = await who.owner.connect(straight);
    await o.ok('chat:join', talk.id);
    for (const kind of ['ex', 'stranger']) {
      const client = await who[kind].connect(straight);
      const mark = o.mark;
      for (const [event, payload] of [
        ['chat:join', talk.id], ['chat:message', text(talk.id, 'x')], ['chat:typing', { conversationId: talk.id }], ['chat:stopTyping', { conversationId: talk.id }],
        ['chat:markRead', { conversationId: talk.id, upTo: 1 }], ['chat:delivered', { conversationId: talk.id, upTo: 1 }],
      ]) await client.refused('PERMISSION_DENIED', event, payload);
      const ack = await client.resume({ [talk.id]: 0 });
      assert.deepEqual(ack.removed, [talk.id]);
      assert.equal(talk.id in ack.heads, false);
      await o.ok('chat:message', text(talk.id, 'secret'));
      await sleep(2_000);
      assert.deepEqual(heard(client, talk), [], kind);
      assert.deepEqual(heard(o, talk, mark).filter((name) => !name.startsWith('chat:message') && name !== 'chat:receipts'), []);
      who[kind].close();
    }
    who.owner.close();
  });

  test('N22 ids of two conversations: nothing is marked; G-10 takes a seq or a message id, and never falls', async () => {
    const [talk, foreign] = [await crew(who), await group(who.stranger, [who.ex])];
    const [mine, theirs] = [await send(who.owner, talk.id, 'second'), await send(who.stranger, foreign.id, 'x')];
    const read = (upTo) => who.member.rest.post(at(talk, '/read'), { upTo });
    isError(await read(theirs.id), 400, 'INVALID_DATA', { field: 'upTo' });
    assert.deepEqual(done(await read(mine.id)), { ok: true, readSeq: mine.seq });
    assert.deepEqual(done(await read(1)), { ok: true, readSeq: mine.seq });
    assert.deepEqual(done(await read(9_999)), { ok: true, readSeq: mine.seq });
    for (const bad of [undefined, null, -1, 1.5, 'x', {}, [mine.id]]) isError(await read(bad), 400, 'INVALID_DATA', { field: 'upTo' });
  });

  test('G-04 admins unmake neither owners nor admins; nobody raises above himself; one owner stays', async () => {
    const talk = await crew(who);
    for (const [by, other, word] of [['admin', 'owner', 'member'], ['admin', 'admin', 'owner'], ['admin', 'member', 'admin'], ['member', 'member', 'admin']]) {
      isError(await role(who[by], talk, who[other], word), 403, 'PERMISSION_DENIED');
    }
    isError(await remove(who.admin, talk, who.owner), 403, 'PERMISSION_DENIED');
    isError(await role(who.owner, talk, who.owner, 'member'), 409, 'CONFLICT', { field: 'role' });
    done(await role(who.owner, talk, who.member, 'owner'));
    const shown = done(await role(who.member, talk, who.owner, 'admin'));
    isConversation(shown);
    assert.deepEqual([roles(shown)[who.owner.id], roles(shown)[who.member.id]], ['admin', 'owner']);
    for (const bad of ['king', '', 7, null, undefined]) isError(await role(who.member, talk, who.owner, bad), 400, 'INVALID_DATA', { field: 'role' });
    for (const nobody of [who.stranger, who.ex, { id: MISSING }, { id: 'x' }]) {
      isError(await role(who.member, talk, nobody, 'admin'), 404, 'USER_NOT_FOUND');
      isError(await remove(who.member, talk, nobody), 404, 'USER_NOT_FOUND');
    }
  });

  test('N25 adding: unknown ids 404, people who blocked the caller 403, members stay as they are', async () => {
    const talk = await crew(who);
    const [blocker] = await people(server, 'blocker');
    done(await blocker.rest.patch(`/api/users/contacts/${who.owner.id}`, { status: 'blocked' }));
    isError(await add(who.owner, talk, who.newcomer, { id: MISSING }), 404, 'USER_NOT_FOUND');
    isError(await add(who.owner, talk, who.newcomer, blocker), 403, 'PERMISSION_DENIED');
    assert.equal(done(await show(who.owner, talk)).members.length, 4, 'all or nobody');
    const same = done(await add(who.owner, talk, who.member, who.owner));
    isConversation(same);
    assert.equal(same.seq, 3, 'no change, no number');
    assert.deepEqual(roles(same), roles(done(await show(who.member, talk))));
    for (const userIds of [undefined, null, [], 'x', [7], ['x'], [{ $ne: 1 }]]) isError(await who.owner.rest.post(at(talk, '/members'), { userIds }), 400, 'INVALID_DATA', { field: 'userIds' });
    done(await add(who.admin, talk, blocker), 200);
    done(await add(who.owner, talk, blocker, who.newcomer), 200);
  });

  test('V-22 names and pictures', async () => {
    const talk = await crew(who);
    const name = '\u{1f600}'.repeat(100);
    assert.equal(done(await rename(who.owner, talk, name)).name, name);
    for (const bad of ['', '  ', 'n'.repeat(101), 'a\nb', 7, {}]) isError(await rename(who.owner, talk, bad), 400, 'INVALID_DATA', { field: 'name' });
    assert.equal(done(await who.owner.rest.patch(at(talk), { avatarId: null, role: 'x', seq: 99 })).avatar_url, null);
    isError(await who.owner.rest.patch(at(talk), { avatarId: MISSING }), 404, 'NOT_FOUND');
    assert.equal(done(await show(who.owner, talk)).name, name);
  });

  test('G-04 direct conversations refuse all of it but PATCH me', async () => {
    const talk = await direct(who.owner, who.member);
    for (const answer of [
      await rename(who.owner, talk, 'x'), await add(who.owner, talk, who.other), await remove(who.owner, talk, who.member), await role(who.owner, talk, who.member, 'admin'), await leave(who.owner, talk),
    ]) isError(answer, 403, 'PERMISSION_DENIED');
    assert.equal((await who.owner.rest.patch(at(talk, '/me'), { level: 'none' })).status, 204);
  });

  test('G-04 PATCH me: silence until a time, for this member alone', async () => {
    const talk = await crew(who);
    const me = (body) => who.member.rest.patch(at(talk, '/me'), body);
    const mutedUntil = '2099-01-01T00:00:00.000Z';
    done(await me({ mutedUntil }), 204);
    assert.equal(done(await show(who.member, talk)).mutedUntil, mutedUntil);
    assert.equal((await listed(who.member, talk.id, 0)).mutedUntil, mutedUntil);
    assert.equal(done(await show(who.owner, talk)).mutedUntil, null);
    done(await me({ level: 'none' }), 204);
    assert.equal(done(await show(who.member, talk)).mutedUntil, mutedUntil, 'what is not named stays');
    done(await me({ mutedUntil: null }), 204);
    assert.equal((await listed(who.member, talk.id, 0)).mutedUntil, null);
    for (const bad of ['soon', 7, {}]) isError(await me({ mutedUntil: bad }), 400, 'INVALID_DATA', { field: 'mutedUntil' });
    for (const bad of ['some', 7, {}]) isError(await me({ level: bad }), 400, 'INVALID_DATA', { field: 'level' });
  });

  test('G-21 shows what the list shows', async () => {
    const talk = await crew(who);
    await send(who.admin, talk.id, 'last');
    const shown = done(await show(who.owner, talk));
    isConversation(shown, { listed: true });
    isMessage(shown.lastMessage, { content: 'last' });
    await listed(who.owner, talk.id, shown.seq);
    assert.equal(done(await show(who.owner, talk)).unreadCount, 1);
    assert.equal(shown.seq, 4, 'a role, two messages, a removal');
    assert.deepEqual(shown.members.map(({ username }) => username).sort(), [who.owner, who.admin, who.member, who.other].map(({ username }) => username).sort());
  });

  test('G-04 the last owner hands over to the longest-standing admin, else member; an empty group stays stored', async () => {
    const talk = await crew(who);
    done(await leave(who.owner, talk), 204);
    assert.equal(roles(done(await show(who.member, talk)))[who.admin.id], 'owner');
    done(await add(who.admin, talk, who.owner));
    done(await leave(who.admin, talk), 204);
    const left = roles(done(await show(who.owner, talk)));
    assert.equal(left[who.owner.id], 'member', 'who comes back begins as a member');
    assert.equal(Object.values(left).filter((word) => word === 'owner').length, 1);
    for (const one of [who.member, who.other, who.owner]) done(await leave(one, talk), 204);
    for (const one of [who.owner, who.member]) isError(await show(one, talk), 404, 'NOT_FOUND');
    assert.equal((await who.owner.rest.get(PATH)).body.some(({ id }) => id === talk.id), false);
  });

  test('R-10 groups that one is no longer in are hidden, and come back with their history', async () => {
    const talk = await crew(who);
    assert.equal((await who.ex.rest.get(PATH)).body.some(({ id }) => id === talk.id), false);
    done(await add(who.owner, talk, who.ex));
    const back = await listed(who.ex, talk.id, 0);
    assert.equal(back.unreadCount, 0, 'what was before is not unread');
    assert.equal((await who.ex.rest.get(at(talk, '/messages'))).body.length, 1);
    await send(who.owner, talk.id, 'welcome back');
    assert.equal((await listed(who.ex, talk.id, back.seq + 1)).unreadCount, 1);
  });
});

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(`events, ${name}`, needs('objects', name === 'websocket only' ? 'websocket' : 'polling'), () => {
    test('E-041 whoever is in a new conversation learns of it, on every socket', async () => {
      const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
      const clients = [await ann.connect(transports), await bob.connect(transports), await bob.connect(straight)];
      const e = await eve.connect(transports);
      for (const [talk, kind] of [[await direct(ann, bob), 'direct'], [await group(ann, [bob]), 'group']]) {
        for (const client of clients) {
          const event = await client.next('conversation:created', ofTalk(talk));
          exactly(event, ['conversation']);
          isConversation(event.conversation);
          assert.deepEqual([event.conversation.type, event.conversation.members.length, event.conversation.seq], [kind, 2, 0]);
        }
      }
      await direct(bob, ann);
      await sleep(200);
      for (const client of clients) assert.equal(client.all('conversation:created').length, 2, 'opening it again tells nobody');
      assert.deepEqual(e.all('conversation:created'), []);
      [ann, bob, eve].forEach((who) => who.close());
    });

    test('E-042 E-043 E-044 E-045 what everybody is told, in order, with numbers', async () => {
      const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
      const talk = await group(ann, [bob]);
      const [a, b, e] = await Promise.all([ann, bob, eve].map((who) => who.connect(transports)));
      done(await rename(ann, talk, 'Renamed'));
      done(await add(ann, talk, eve));
      done(await role(ann, talk, bob, 'admin'));
      await send(bob, talk.id, 'hello');
      done(await remove(bob, talk, eve));
      await send(bob, talk.id, 'without eve');
      for (const client of [a, b]) {
        await client.next('chat:message', ({ content }) => content === 'without eve');
        const durable = heard(client, talk).filter((one) => one.includes(':') && /\d$/.test(one));
        assert.deepEqual(durable, ['conversation:updated:1', 'conversation:memberAdded:2', 'conversation:updated:3', 'chat:message:4', 'conversation:memberRemoved:5', 'chat:message:6']);
        assert.deepEqual(client.all('conversation:updated')[0], { conversationId: talk.id, seq: 1, by: ann.id, changes: { name: 'Renamed' } });
        assert.deepEqual(client.all('conversation:updated')[1].changes, { roles: { [bob.id]: 'admin' } });
        const [added] = client.all('conversation:memberAdded');
        exactly(added, ['conversationId', 'seq', 'by', 'member']);
        isMember(added.member);
        assert.deepEqual([added.by, added.member.id, added.member.role], [ann.id, eve.id, 'member']);
        assert.deepEqual(client.all('conversation:memberRemoved'), [{ conversationId: talk.id, seq: 5, by: bob.id, userId: eve.id, reason: 'removed' }]);
      }
      await e.next('conversation:removed');
      const theirs = heard(e, talk).filter((one) => one !== 'chat:receipts');
      assert.deepEqual(theirs, ['conversation:created', 'conversation:memberAdded:2', 'conversation:updated:3', 'chat:message:4', 'conversation:removed']);
      assert.deepEqual(e.all('conversation:removed'), [{ conversationId: talk.id, reason: 'removed' }]);
      const [{ conversation }] = e.all('conversation:created');
      isConversation(conversation);
      assert.deepEqual(Object.keys(roles(conversation)).sort(), [ann.id, bob.id, eve.id].sort());
      await sleep(500);
      assert.equal(heard(e, talk).at(-1), 'conversation:removed', 'nothing follows');
      [ann, bob, eve].forEach((who) => who.close());
    });

    test('E-045 nothing reaches sockets that opened or resumed the conversation, and coming back works', async () => {
      const [ann, bob] = await people(server, 'ann', 'bob');
      const talk = await group(ann, [bob]);
      await send(ann, talk.id, 'one');
      const [opened, resumed] = [await bob.connect(transports), await bob.connect(straight)];
      await opened.ok('chat:join', talk.id);
      await resumed.resume({ [talk.id]: 0 });
      done(await leave(bob, talk), 204);
      for (const client of [opened, resumed]) assert.deepEqual(await client.next('conversation:removed'), { conversationId: talk.id, reason: 'left' });
      const a = await ann.connect(straight);
      await a.ok('chat:typing', { conversationId: talk.id });
      await a.ok('chat:message', text(talk.id, 'two'));
      await sleep(500);
      for (const client of [opened, resumed]) assert.equal(heard(client, talk).at(-1), 'conversation:removed');
      assert.deepEqual((await resumed.resume({ [talk.id]: 1 })).removed, [talk.id]);
      done(await add(ann, talk, bob));
      await send(ann, talk.id, 'three');
      for (const client of [opened, resumed]) {
        await client.next('chat:message', ({ content }) => content === 'three');
        assert.deepEqual(heard(client, talk).slice(-3), ['conversation:created', 'conversation:memberAdded:4', 'chat:message:5']);
      }
      [ann, bob].forEach((who) => who.close());
    });

    test('G-23 E-046 group events are replayed like messages, under their names', async () => {
      const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
      const talk = await group(ann, [bob]);
      await send(ann, talk.id, 'one');
      done(await rename(ann, talk, 'Renamed'));
      done(await add(ann, talk, eve));
      done(await leave(eve, talk), 204);
      await send(ann, talk.id, 'two');
      const b = await bob.connect(transports);
      await b.resume({ [talk.id]: 1 });
      const wanted = ['conversation:updated:2', 'conversation:memberAdded:3', 'conversation:memberRemoved:4', 'chat:message:5'];
      assert.deepEqual(heard(b, talk).filter((one) => one !== 'chat:receipts'), wanted);
      const { events, headSeq, more } = done(await bob.rest.get(at(talk, '/events?after=1')));
      assert.deepEqual(events.map(({ event, seq }) => `${event}:${seq}`), wanted);
      assert.deepEqual([headSeq, more], [5, false]);
      assert.deepEqual(events[2].data, { conversationId: talk.id, seq: 4, by: eve.id, userId: eve.id, reason: 'left' });
      for (const { data } of events) assert.equal(data.conversationId, talk.id);
      [ann, bob, eve].forEach((who) => who.close());
    });
  });
}

describe('presence follows membership (P2)', needs('objects'), () => {
  test('E-012 E-013 people of one group see each other, and no longer when one goes', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const talk = await group(ann, [bob]);
    const [a, e] = [await ann.connect(straight), await eve.connect(straight)];
    const online = async (client, other, yes) => {
      for (const end = Date.now() + 5_000; ; await sleep(50)) {
        if ((await client.call('presence:getOnline')).includes(other.id) === yes) return;
        assert.ok(Date.now() < end, `${other.username} is ${yes ? 'not ' : ''}seen`);
      }
    };
    assert.equal((await a.call('presence:getOnline')).includes(eve.id), false);
    done(await add(ann, talk, eve));
    await online(a, eve, true);
    await online(e, ann, true);
    done(await remove(ann, talk, eve));
    await online(a, eve, false);
    await online(e, ann, false);
    [ann, eve].forEach((who) => who.close());
  });
});

describe('mentions', needs('objects'), () => {
  const mentions = async (who, talk, wanted) => {
    for (const end = Date.now() + 5_000; ; await sleep(50)) {
      const found = (await who.rest.get(PATH)).body.find(({ id }) => id === talk.id);
      if (found?.mentionCount === wanted) return found;
      assert.ok(Date.now() < end, `${found?.mentionCount} mentions of ${wanted}`);
    }
  };

  test('@username, @all and @here are resolved by the server alone', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const talk = await group(ann, [bob]);
    const said = async (content, metadata) => (await send(ann, talk.id, content, { metadata })).metadata;
    assert.deepEqual(await said(`hi @${bob.username.toUpperCase()}.`), { mentions: { users: [bob.id] } });
    assert.deepEqual(await said(`@${bob.username}x x@${bob.username} @${eve.username}`), null, 'whole words, members only');
    assert.deepEqual(await said('@all @Here', { x: 1 }), { x: 1, mentions: { users: [], all: true, here: true } });
    assert.deepEqual(await said('nobody', { x: 1, mentions: { users: [bob.id] } }), { x: 1 });
    const once = { content: `@${bob.username}`, type: 'text', clientId: 'once', metadata: { x: 1 } };
    const [first, again] = [await ann.rest.post(at(talk, '/messages'), once), await ann.rest.post(at(talk, '/messages'), once)];
    assert.deepEqual([first.status, again.status], [201, 200]);
    assert.deepEqual(again.body, first.body);
    isError(await ann.rest.post(at(talk, '/messages'), { ...once, metadata: { x: 2 } }), 409, 'CONFLICT');
  });

  test('mentionCount counts what is unread and mentions me', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const talk = await group(ann, [bob, eve]);
    await send(ann, talk.id, `@${bob.username}`);
    await send(ann, talk.id, 'nobody');
    const last = await send(ann, talk.id, '@all');
    assert.equal((await mentions(bob, talk, 2)).unreadCount, 3);
    await mentions(eve, talk, 1);
    await mentions(ann, talk, 0);
    assert.equal(done(await show(bob, talk)).mentionCount, 2);
    done(await bob.rest.post(at(talk, '/read'), { upTo: last.seq }));
    await mentions(bob, talk, 0);
  });
});

describe('EX_MEMBER_HISTORY=until_left', external ? { skip: 'this needs a server with a setting of its own' } : needs('objects'), () => {
  test('N19 former members read up to where they left, and write nothing', async () => {
    const own = await target({ env: { EX_MEMBER_HISTORY: 'until_left' } });
    try {
      const [ann, bob, eve] = await people(own, 'ann', 'bob', 'eve');
      const talk = await group(ann, [bob]);
      await send(ann, talk.id, 'before');
      done(await remove(ann, talk, bob));
      const after_ = await send(ann, talk.id, 'after');
      for (const query of ['', '?before=2099-01-01T00:00:00.000Z', '?beforeSeq=99', '?afterSeq=0']) {
        const rows = done(await bob.rest.get(at(talk, `/messages${query}`)));
        assert.deepEqual(rows.map(({ content }) => content), ['before'], query);
      }
      for (const path of [at(talk, `/messages?around=${after_.id}`), at(talk, `/messages?before=${after_.id}`), at(talk, '/messages?afterSeq=2'), at(talk, '/events?after=2'), `/api/chats/messages/${after_.id}/edits`]) {
        assert.doesNotMatch((await bob.rest.get(path)).text, /after/, path);
      }
      assert.deepEqual(done(await bob.rest.get(`/api/chats/search?q=after&conversationId=${talk.id}`)).hits, []);
      const { events, headSeq, more } = done(await bob.rest.get(at(talk, '/events?after=0')));
      assert.deepEqual([events.map(({ seq }) => seq), headSeq, more], [[1], 1, false]);
      for (const answer of [
        await bob.rest.post(at(talk, '/messages'), { content: 'x', type: 'text' }), await rename(bob, talk, 'x'), await add(bob, talk, eve), await leave(bob, talk), await bob.rest.post(at(talk, '/read'), { upTo: 1 }),
      ]) isError(answer, 403, 'NOT_A_MEMBER');
      isError(await show(eve, talk), 404, 'NOT_FOUND');
      assert.deepEqual((await bob.rest.get(PATH)).body, []);
      const b = await bob.connect(straight);
      assert.deepEqual((await b.resume({ [talk.id]: 0 })).removed, [talk.id]);
      await send(ann, talk.id, 'later');
      await sleep(300);
      assert.deepEqual(heard(b, talk), []);
      bob.close();
    } finally {
      await own.stop();
    }
  });
});

test('ids in answers are ids', needs('objects'), async () => {
  const [ann, bob] = await people(server, 'ann', 'bob');
  const talk = await group(ann, [bob]);
  const shown = done(await show(ann, talk));
  isId(shown.id);
  assert.equal(shown.created_by, ann.id);
});
