// Conversations: creation, direct pairs, the list., V-22, and the 404 rule.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, group, people, send } from '../support/people.mjs';
import { isConversation, isError, isMessage } from '../support/shapes.mjs';
import { needs, target } from '../support/target.mjs';

const PATH = '/api/chats/conversations';
let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const create = (who, body) => who.rest.post(PATH, body);
const list = async (who, query = '') => {
  const answer = await who.rest.get(`${PATH}${query}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};

describe('R-11', needs('objects'), () => {
  test('R-11 a direct conversation', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const answer = await create(ann, { type: 'direct', memberIds: [bob.id] });
    assert.equal(answer.status, 201);
    isConversation(answer.body);
    assert.equal(answer.body.type, 'direct');
    assert.equal(answer.body.seq, 0, 'creating takes no number');
    assert.equal(answer.body.created_by, ann.id);
    assert.equal(answer.body.activeCall, null);
    assert.equal(answer.body.mutedUntil, null);
    assert.equal(answer.body.mentionCount, 0);
    assert.deepEqual(answer.body.members.map(({ id }) => id).sort(), [ann.id, bob.id].sort());
  });

  test('R-11 the same pair again, from either side: 200 with the existing one', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const first = await create(ann, { type: 'direct', memberIds: [bob.id] });
    for (const [who, other] of [[ann, bob], [bob, ann]]) {
      const again = await create(who, { type: 'direct', memberIds: [other.id] });
      assert.equal(again.status, 200);
      isConversation(again.body);
      assert.equal(again.body.id, first.body.id);
    }
  });

  test('R-11 30 at once from both sides: one conversation, one 201', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => (n % 2 ? create(ann, { type: 'direct', memberIds: [bob.id] }) : create(bob, { type: 'direct', memberIds: [ann.id] }))));
    assert.ok(answers.every(({ status }) => status === 200 || status === 201), answers.find(({ status }) => status > 201)?.text);
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    assert.equal((await list(ann)).length, 1);
    assert.equal((await list(bob)).length, 1);
  });

  test('R-11 a direct conversation may name oneself beside the other', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const answer = await create(ann, { type: 'direct', memberIds: [bob.id, ann.id] });
    assert.ok([201, 400].includes(answer.status), answer.text);
    if (answer.status === 201) assert.equal(answer.body.members.length, 2);
  });

  test('R-11 a group: the creator is its owner, twice the same id counts once', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const answer = await create(ann, { type: 'group', name: 'Crew \u{1f680}', memberIds: [bob.id, eve.id, bob.id] });
    assert.equal(answer.status, 201);
    isConversation(answer.body);
    assert.equal(answer.body.name, 'Crew \u{1f680}');
    assert.deepEqual(Object.fromEntries(answer.body.members.map(({ id, role }) => [id, role])), { [ann.id]: 'owner', [bob.id]: 'member', [eve.id]: 'member' });
    const again = await create(ann, { type: 'group', name: 'Crew \u{1f680}', memberIds: [bob.id, eve.id] });
    assert.equal(again.status, 201);
    assert.notEqual(again.body.id, answer.body.id, 'groups are never the same');
  });

  test('V-22 a name of 100 characters is taken, of 101 refused', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const name = '\u{1f600}'.repeat(100);
    assert.equal((await create(ann, { type: 'group', name, memberIds: [bob.id] })).body.name, name);
    isError(await create(ann, { type: 'group', name: 'n'.repeat(101), memberIds: [bob.id] }), 400, 'INVALID_DATA', { field: 'name' });
  });

  test('R-11 unknown ids are 404', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const unknown = '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d';
    isError(await create(ann, { type: 'direct', memberIds: [unknown] }), 404, 'USER_NOT_FOUND');
    isError(await create(ann, { type: 'group', name: 'x', memberIds: [bob.id, unknown] }), 404, 'USER_NOT_FOUND');
    assert.deepEqual(await list(ann), []);
  });

  for (const [name, body, field] of [
    ['no type', (b) => ({ memberIds: [b] }), 'type'], ['another type', (b) => ({ type: 'channel', memberIds: [b] }), 'type'], ['a number as type', (b) => ({ type: 1, memberIds: [b] }), 'type'],
    ['no memberIds', () => ({ type: 'direct' }), 'memberIds'], ['no members in a direct one', () => ({ type: 'direct', memberIds: [] }), 'memberIds'],
    ['a string as memberIds', (b) => ({ type: 'direct', memberIds: b }), 'memberIds'], ['numbers as ids', () => ({ type: 'direct', memberIds: [1] }), 'memberIds'], ['null as id', () => ({ type: 'direct', memberIds: [null] }), 'memberIds'],
    ['objects as ids', () => ({ type: 'group', name: 'x', memberIds: [{ $ne: 1 }] }), 'memberIds'], ['a number as name', (b) => ({ type: 'group', name: 7, memberIds: [b] }), 'name'],
    ['a control character in the name', (b) => ({ type: 'group', name: 'a\u0000b', memberIds: [b] }), 'name'],
  ]) {
    test(`N29 ${name}: 400 names ${field}`, async () => {
      const [ann, bob] = await people(server, 'ann', 'bob');
      isError(await create(ann, body(bob.id)), 400, 'INVALID_DATA', { field });
    });
  }

  test('R-11 direct needs exactly one other', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    isError(await create(ann, { type: 'direct', memberIds: [bob.id, eve.id] }), 400, 'INVALID_DATA', { field: 'memberIds' });
    isError(await create(ann, { type: 'direct', memberIds: [ann.id] }), 400, 'INVALID_DATA', { field: 'memberIds' });
  });

  test('N29 a malformed id is refused', async () => {
    const [ann] = await people(server, 'ann');
    for (const id of ['1 OR 1=1', '', '../..', 'a'.repeat(5_000)]) {
      const answer = await create(ann, { type: 'direct', memberIds: [id] });
      assert.ok([400, 404].includes(answer.status), answer.text);
    }
  });

  test('more than 1,000 members are refused', async () => {
    const [ann] = await people(server, 'ann');
    const answer = await create(ann, { type: 'group', name: 'x', memberIds: Array.from({ length: 1_001 }, () => randomUUID()) });
    assert.ok([400, 404].includes(answer.status), answer.text);
  });

  test('N23 N14 created_by, id, seq and roles of the request are ignored', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const answer = await create(ann, { type: 'group', name: 'x', memberIds: [bob.id], created_by: bob.id, userId: bob.id, id: '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d', seq: 99, members: [{ id: bob.id, role: 'owner' }] });
    assert.equal(answer.status, 201);
    assert.equal(answer.body.created_by, ann.id);
    assert.equal(answer.body.seq, 0);
    assert.notEqual(answer.body.id, '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d');
    assert.equal(answer.body.members.find(({ id }) => id === bob.id).role, 'member');
  });

  test('without a token: 401', async () => {
    const [ann] = await people(server, 'ann');
    ann.rest.token = null;
    isError(await create(ann, { type: 'direct', memberIds: [ann.id] }), 401, 'UNAUTHORIZED');
    isError(await ann.rest.get(PATH), 401, 'UNAUTHORIZED');
  });
});

describe('R-10', needs('objects'), () => {
  test('R-10 a newcomer has none', async () => {
    const [ann] = await people(server, 'ann');
    assert.deepEqual(await list(ann), []);
  });

  test('R-10 newest activity first, with last message and unread count', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const one = await direct(ann, bob);
    await sleep(5);
    const two = await group(ann, [bob, eve]);
    await sleep(5);
    assert.deepEqual((await list(ann)).map(({ id }) => id), [two.id, one.id]);
    await send(bob, one.id, 'first');
    const last = await send(bob, one.id, 'second');
    const [first, second] = await until(async () => {
      const all = await list(ann);
      return all[0].id === one.id && all[0].lastMessage?.id === last.id && all;
    });
    for (const conversation of [first, second]) isConversation(conversation, { listed: true });
    isMessage(first.lastMessage, { content: 'second', sender_id: bob.id });
    assert.equal(first.unreadCount, 2);
    assert.equal(first.seq, 2);
    assert.equal(second.lastMessage, null);
    assert.equal(second.unreadCount, 0);
    const mine = (await list(bob)).find(({ id }) => id === one.id);
    assert.equal(mine.unreadCount, 0, 'one\'s own messages are not unread');
  });

  /** Heads of conversations may follow within 3 s on hosts with a database of their own for it. */
  async function until(fn, ms = 4_000) {
    for (const end = Date.now() + ms; ; await sleep(50)) {
      const found = await fn();
      if (found) return found;
      assert.ok(Date.now() < end, 'the list did not follow');
    }
  }

  test('R-10 pages by limit and X-Next-Before, every conversation once', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const made = [];
    for (let n = 0; n < 7; n += 1) made.unshift((await group(ann, [bob], `g${n}`)).id);
    assert.deepEqual((await list(ann)).map(({ id }) => id), made);
    const seen = [];
    for (let query = '?limit=3'; ;) {
      const answer = await ann.rest.get(`${PATH}${query}`);
      assert.equal(answer.status, 200);
      assert.ok(answer.body.length <= 3);
      seen.push(...answer.body.map(({ id }) => id));
      const next = answer.headers.get('x-next-before');
      if (!next) break;
      query = `?limit=3&before=${encodeURIComponent(next)}`;
    }
    assert.deepEqual(seen, made);
  });

  for (const query of ['?limit=0', '?limit=-1', '?limit=abc', '?limit=1.5', '?limit=', '?before=nonsense']) {
    test(`R-10 ${query} is 400`, async () => {
      const [ann] = await people(server, 'ann');
      isError(await ann.rest.get(`${PATH}${query}`), 400, 'INVALID_DATA');
    });
  }

  test('R-10 shows nobody else\'s conversations', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    await direct(ann, bob);
    assert.deepEqual(await list(eve), []);
  });
});

test('404 rule: what one may not see is byte-identical to what is not there', needs('objects'), async () => {
  const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
  const talk = await direct(ann, bob);
  const message = await send(ann, talk.id, 'secret');
  const absent = `${talk.id.slice(0, 8)}${'-0000-7000-8000-'}${'0'.repeat(12)}`;
  for (const [method, rest, body] of [
    ['GET', '/messages'], ['GET', '/messages?limit=1'], ['GET', `/messages?around=${message.id}`], ['GET', '/events?after=0'], ['GET', '/events?after=99'], ['POST', '/messages', { content: 'x', type: 'text' }],
    ['POST', '/messages', { content: 'x', type: 'text', clientId: 'k' }],
  ]) {
    const foreign = await eve.rest.request(method, `${PATH}/${talk.id}${rest}`, body);
    const missing = await eve.rest.request(method, `${PATH}/${absent}${rest}`, body);
    isError(foreign, 404, 'NOT_FOUND');
    assert.equal(foreign.text, missing.text, `${method} ${rest}`);
    const names = (answer) => [...answer.headers.keys()].filter((name) => !['date', 'x-request-id'].includes(name)).sort();
    assert.deepEqual(names(foreign), names(missing));
  }
  assert.equal((await ann.rest.get(`${PATH}/${talk.id}/messages`)).body.length, 1);
});
