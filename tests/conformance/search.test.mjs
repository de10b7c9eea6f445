// G-07: messages are found by what they say, by members only. The index is a moment behind: questions are asked until it is there.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isError, isId, isMessage } from '../support/shapes.mjs';
import { direct, group, people, person, send, unique } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const path = (query) => `/api/chats/search?${new URLSearchParams(query)}`;
const search = async (who, query) => {
  const answer = await who.rest.get(path(query));
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
};
const contents = ({ hits }) => hits.map(({ message }) => message.content);

/** Asks until `count` hits are there. */
async function found(who, query, count = 1, ms = 15_000) {
  for (const end = Date.now() + ms; ;) {
    const body = await search(who, query);
    if (body.hits.length >= count) return body;
    if (Date.now() > end) assert.fail(`${JSON.stringify(query)}: ${body.hits.length} of ${count} hits`);
    await sleep(150);
  }
}

describe('search', needs('objects', 'unlimited'), () => {
  test('G-07 a hit is the message, a snippet and the conversation', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const crew = await group(ann, [bob], 'Kitchen');
    const word = unique('kettle');
    const message = await send(bob, crew.id, `Is the <${word.toUpperCase()}> on & hot?`);
    const { hits, cursor } = await found(ann, { q: word });
    assert.equal(cursor, null);
    assert.deepEqual(Object.keys(hits[0]).sort(), ['conversation', 'message', 'snippet']);
    isMessage(hits[0].message, { id: message.id, content: message.content, sender_id: bob.id, sender_username: bob.username });
    assert.equal(hits[0].snippet, `Is the &lt;<mark>${word.toUpperCase()}</mark>&gt; on &amp; hot?`);
    assert.deepEqual(hits[0].conversation, { id: crew.id, name: 'Kitchen' });
  });

  test('G-07 strangers and people who never were members find nothing, by any filter', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const talk = await direct(ann, bob);
    const word = unique('secret');
    await send(ann, talk.id, word);
    await found(bob, { q: word });
    for (const query of [{ q: word }, { q: word.slice(0, 2), conversationId: talk.id }, { q: word, conversationId: talk.id }, { q: word, from: ann.id }]) {
      assert.deepEqual(await search(eve, query), { hits: [], cursor: null });
    }
    // A conversation that one does not see is like one that there is not.
    assert.deepEqual(await search(eve, { q: word, conversationId: randomUUID() }), { hits: [], cursor: null });
  });

  test('N29 everything that is asked is text', async () => {
    const ann = await person(server, 'ann');
    const bob = await person(server, 'bob');
    const talk = await direct(ann, bob);
    const texts = ['50% of "all" OR none', 'snake_case and a*b', 'NEAR(x, 5) col:on', "it's -- fine; DROP TABLE", '會議記錄在這裡', '👍🏽👍🏽 great', 'Ärger im Café'];
    for (const text of texts) await send(ann, talk.id, text);
    await found(ann, { q: texts.at(-1) });
    const expected = {
      '50%': 0, '"all" or': 0, 'e_c': 1, 'a*b': 1, 'NEAR(x': 2, 'col:on': 2, "it's --": 3, 會議: 4, 記錄在: 4, '👍🏽': 5, 'ÄRGER': 6, 'café im': 6,
    };
    for (const [q, at] of Object.entries(expected)) assert.deepEqual(contents(await search(ann, { q })), [texts[at]], q);
    for (const q of ['a?b', 'snake%case', 'col:off', '"all" OR "x', "x' OR '1'='1", 'NOT none', 'fine\0', 'fi\0', 'great*"']) {
      assert.deepEqual(contents(await search(ann, { q })), [], q);
    }
  });

  test('G-07 several words are all there; the whole question comes first, then newest first, over pages', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const [talk, crew] = [await direct(ann, bob), await group(ann, [bob])];
    const [a, b] = [unique('red'), unique('house')];
    const texts = [`${a} ${b} 1`, `${b} and ${a} 2`, `${b} 3`, `${a} ${b} 4`, `${b}, ${a} 5`];
    for (const [at, text] of texts.entries()) await send(ann, at % 2 ? talk.id : crew.id, text);
    const whole = await found(ann, { q: `${a} ${b}` }, 4);
    const expected = [3, 0, 4, 1].map((at) => texts[at]);
    assert.deepEqual(contents(whole), expected);
    const paged = [];
    for (let cursor; cursor !== null;) {
      const page = await search(ann, { q: `${a} ${b}`, limit: 1, ...(cursor && { cursor }) });
      assert.equal(page.hits.length, 1);
      paged.push(...contents(page));
      ({ cursor } = page);
    }
    assert.deepEqual(paged, expected);
  });

  test('G-07 filters narrow down', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const [talk, crew] = [await direct(ann, bob), await group(ann, [bob])];
    const word = unique('plan');
    const one = await send(ann, talk.id, `${word} one`);
    const two = await send(bob, crew.id, `${word} two https://example.com/x`);
    const three = await send(bob, crew.id, `${word} three`, { type: 'image' });
    await found(ann, { q: word }, 3);
    const by = async (filter) => contents(await search(ann, { q: word, ...filter }));
    assert.deepEqual(await by({ conversationId: talk.id }), [one.content]);
    assert.deepEqual(await by({ conversationId: crew.id }), [three.content, two.content]);
    assert.deepEqual(await by({ from: bob.id }), [three.content, two.content]);
    assert.deepEqual(await by({ from: randomUUID() }), []);
    assert.deepEqual(await by({ has: 'link' }), [two.content]);
    assert.deepEqual(await by({ has: 'image' }), [three.content]);
    assert.deepEqual(await by({ has: 'voice' }), []);
    assert.deepEqual(await by({ before: one.created_at }), []);
    assert.deepEqual(await by({ after: three.created_at }), []);
    assert.equal((await by({ after: new Date(Date.parse(one.created_at) - 1).toISOString() })).length, 3);
  });

  test('2.3 messages of people who blocked or were blocked stay in groups', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const crew = await group(ann, [bob]);
    const word = unique('stay');
    await send(bob, crew.id, word);
    await found(ann, { q: word });
    assert.equal((await bob.rest.patch(`/api/users/contacts/${ann.id}`, { status: 'blocked' })).status, 200);
    assert.equal((await search(ann, { q: word })).hits.length, 1);
    assert.equal((await search(bob, { q: word })).hits.length, 1);
  });

  test('a search marks nothing as delivered, and a burst is found whole', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const word = unique('burst');
    await Promise.all(Array.from({ length: 60 }, (_, n) => send(ann, talk.id, `${word} ${n}`)));
    const all = new Set(contents(await found(bob, { q: word, limit: 50 }, 50)));
    for (let end = Date.now() + 15_000; all.size < 60; await sleep(150)) {
      assert.ok(Date.now() < end, `${all.size} of 60`);
      for (let page = await search(bob, { q: word, limit: 50 }); ; page = await search(bob, { q: word, limit: 50, cursor: page.cursor })) {
        contents(page).forEach((content) => all.add(content));
        if (!page.cursor) break;
      }
    }
    const conversation = (await ann.rest.get('/api/chats/conversations')).body.find(({ id }) => id === talk.id);
    assert.equal(conversation.members.find(({ id }) => id === bob.id).delivered_seq, 0);
  });
});

describe('a bad question', needs('objects', 'unlimited'), () => {
  const id = randomUUID();
  for (const [query, field] of [
    [{}, 'q'], [{ q: '' }, 'q'], [{ q: 'x' }, 'q'], [{ q: '  x ' }, 'q'], [{ q: '%%' }, 'q'], [{ q: '_ *' }, 'q'], [{ q: 'x'.repeat(201) }, 'q'],
    [{ q: 'ab', conversationId: '1 OR 1=1' }, 'conversationId'], [{ q: 'ab', from: '%' }, 'from'], [{ q: 'ab', before: 'yesterday' }, 'before'],
    [{ q: 'ab', after: id }, 'after'], [{ q: 'ab', has: 'video' }, 'has'], [{ q: 'ab', limit: 0 }, 'limit'], [{ q: 'ab', limit: 'x' }, 'limit'],
    [{ q: 'ab', cursor: id }, 'cursor'],
  ]) {
    test(`N31 ${JSON.stringify(query).slice(0, 60)} is 400 and names the field`, async () => {
      const ann = await person(server, 'ann');
      isId(ann.id);
      isError(await ann.rest.get(path(query)), 400, 'INVALID_DATA', { field });
    });
  }

  test('without token: 401', async () => {
    isError(await new Rest(server.baseUrl).get(path({ q: 'ab' })), 401, 'UNAUTHORIZED');
  });
});
