// What becomes of a message: edits, deletion, reactions, over sockets and REST, told to everybody and replayed in their
// order. E-035 to E-040, E-046, G-05, G-06, G-23, G-24, M2, M3, M5, N28.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientId, direct, group, listed, people, send, wholeHistory } from '../support/people.mjs';
import { isError, isId, isTime } from '../support/shapes.mjs';
import { straight, TRANSPORTS } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
let ann;
let bob;
let carl;
let eve;
before(async () => {
  server = await target();
  [ann, bob, carl, eve] = await people(server, 'ann', 'bob', 'carl', 'eve');
});
after(() => server?.stop());

const UNKNOWN = '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d';
const THUMB = '\u{1f44d}';
const HEART = '\u2764\ufe0f';
const FAMILY = '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466}';
const message = (id, rest = '') => `/api/chats/messages/${id}${rest}`;
const reaction = (id, emoji) => message(id, `/reactions/${encodeURIComponent(emoji)}`);
const span = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n);
const exactly = (object, keys) => assert.deepEqual(Object.keys(object).sort(), [...keys].sort());
const crew = () => group(ann, [bob, carl]);
const events = async (who, conversation, query = 'after=0') => (await who.rest.get(`/api/chats/conversations/${conversation.id}/events?${query}`)).body;
const bySeq = (client, conversation) => client.events.filter(({ name, payload }) => DURABLE.has(name) && payload?.conversationId === conversation.id);
const DURABLE = new Set(['chat:message', 'chat:edited', 'chat:deleted', 'chat:reaction']);

/** Both ways to do the same. Each gives `{message?, reactions?}`, or `{code}`. */
const ROUTES = {
  REST: {
    needs: ['objects'],
    async act(who, conversation, id, name, value) {
      const answer = await ({
        edit: () => who.rest.patch(message(id), { content: value }),
        delete: () => who.rest.delete(message(id)),
        react: () => who.rest.put(reaction(id, value)),
        unreact: () => who.rest.delete(reaction(id, value)),
      })[name]();
      if (answer.status !== 200) return { code: answer.body.code, field: answer.body.field, status: answer.status };
      return name.endsWith('react') ? answer.body : { message: answer.body };
    },
    forbidden: 'PERMISSION_DENIED',
    invisible: 'NOT_FOUND',
  },
  sockets: {
    needs: ['objects'],
    async act(who, conversation, id, name, value) {
      who.socket ??= await who.connect(straight);
      const named = { conversationId: conversation.id, messageId: id };
      const ack = await ({
        edit: () => who.socket.call('chat:edit', { ...named, content: value }),
        delete: () => who.socket.call('chat:delete', named),
        react: () => who.socket.call('chat:react', { ...named, emoji: value, on: true }),
        unreact: () => who.socket.call('chat:react', { ...named, emoji: value, on: false }),
      })[name]();
      if (ack.error) return { code: ack.error.code, field: ack.error.field };
      exactly(ack, { edit: ['ok', 'message'], delete: ['ok'], react: ['ok', 'reactions'], unreact: ['ok', 'reactions'] }[name]);
      return ack;
    },
    forbidden: 'PERMISSION_DENIED',
    invisible: 'PERMISSION_DENIED',
  },
};
after(() => [ann, bob, carl, eve].forEach((one) => one?.close()));

for (const [name, route] of Object.entries(ROUTES)) {
  const does = (who, talk, id, what, value) => route.act(who, talk, id, what, value);
  const done = async (...args) => {
    const answer = await does(...args);
    assert.equal(answer.code, undefined, JSON.stringify(answer));
    return answer;
  };

  describe(name, needs(...route.needs), () => {
    test('E-035 G-05 N28 an edit changes the content and leaves seq, id and the rest', async () => {
      const talk = await crew();
      const first = await send(bob, talk.id, 'helo', { metadata: { a: 1 } });
      await send(ann, talk.id, 'between');
      const { message: edited } = await done(bob, talk, first.id, 'edit', 'hello <b>\u{1f44d}</b>\n');
      isTime(edited.edited_at);
      assert.deepEqual(edited, { ...first, content: 'hello <b>\u{1f44d}</b>\n', edited_at: edited.edited_at, read_by: edited.read_by });
      const { events: all, headSeq } = await events(carl, talk);
      assert.deepEqual(all.map(({ seq, event }) => [seq, event]), [[1, 'chat:message'], [2, 'chat:message'], [3, 'chat:edited']]);
      assert.equal(headSeq, 3);
      exactly(all[2].data, ['conversationId', 'seq', 'message']);
      assert.deepEqual([all[2].data.seq, all[2].data.message.seq, all[2].data.message.content], [3, 1, edited.content]);
      assert.equal(all[0].data.content, edited.content, 'replay renders the current row');
      assert.equal((await wholeHistory(carl, talk.id))[0].content, edited.content);
    });

    test('E-037 G-05 a deleted message stays as a placeholder', async () => {
      const talk = await crew();
      const row = await send(bob, talk.id, 'secret', { metadata: { preview: 'secret' } });
      await done(bob, talk, row.id, 'edit', 'secret too');
      await done(ann, talk, row.id, 'react', THUMB);
      await done(bob, talk, row.id, 'delete');
      const answer = await ann.rest.get(`/api/chats/conversations/${talk.id}/messages`);
      assert.doesNotMatch(answer.text, /secret/);
      const [gone] = answer.body;
      isTime(gone.deleted_at);
      assert.deepEqual([gone.id, gone.seq, gone.content, gone.attachments, gone.reactions, gone.sender_id], [row.id, 1, '', [], [], bob.id]);
      const { events: all } = await events(carl, talk);
      assert.deepEqual(all.map(({ seq, event }) => [seq, event]), [[1, 'chat:message'], [2, 'chat:edited'], [3, 'chat:reaction'], [4, 'chat:deleted']]);
      assert.doesNotMatch(JSON.stringify(all), /secret/);
      assert.deepEqual(all[3].data, { conversationId: talk.id, seq: 4, messageId: row.id, by: bob.id, deleted_at: gone.deleted_at });
      assert.deepEqual((await ann.rest.get(message(row.id, '/edits'))).body, [], 'nor does its past give it away');
    });

    test('G-06 E-039 reactions: in order of first use, counted, with `me` for who asks', async () => {
      const talk = await crew();
      const row = await send(ann, talk.id, 'x');
      await done(bob, talk, row.id, 'react', HEART);
      await done(carl, talk, row.id, 'react', FAMILY);
      const { reactions } = await done(carl, talk, row.id, 'react', HEART);
      const as = (mine, other) => [{ emoji: HEART, count: 2, user_ids: [bob.id, carl.id], me: mine }, { emoji: FAMILY, count: 1, user_ids: [carl.id], me: other }];
      assert.deepEqual(reactions, as(true, true));
      for (const [who, mine, other] of [[ann, false, false], [bob, true, false], [carl, true, true]]) {
        assert.deepEqual((await wholeHistory(who, talk.id))[0].reactions, as(mine, other));
        const { events: all } = await events(who, talk);
        assert.deepEqual(all.map(({ data }) => data.reactions), Array(4).fill(as(mine, other)));
        assert.deepEqual((await listed(who, talk.id, 4)).lastMessage.reactions, as(mine, other));
      }
      assert.deepEqual((await done(bob, talk, row.id, 'unreact', HEART)).reactions.map(({ emoji, count, me }) => [emoji, count, me]), [[HEART, 1, false], [FAMILY, 1, false]]);
      assert.deepEqual((await done(carl, talk, row.id, 'unreact', HEART)).reactions.map(({ emoji, me }) => [emoji, me]), [[FAMILY, true]]);
    });

    test('E-040 no change, no event: what is so already is answered', async () => {
      const talk = await crew();
      const row = await send(ann, talk.id, 'x');
      await done(ann, talk, row.id, 'edit', 'x');
      await done(bob, talk, row.id, 'unreact', THUMB);
      await done(bob, talk, row.id, 'react', THUMB);
      await done(bob, talk, row.id, 'react', THUMB);
      await done(carl, talk, row.id, 'unreact', THUMB);
      await done(ann, talk, row.id, 'delete');
      await done(ann, talk, row.id, 'delete');
      const { events: all, headSeq } = await events(bob, talk);
      assert.deepEqual([headSeq, all.map(({ event }) => event)], [3, ['chat:message', 'chat:reaction', 'chat:deleted']]);
      assert.equal((await wholeHistory(bob, talk.id))[0].edited_at, null);
    });

    test('N28 edit or delete another\'s message: refused for a fellow member, invisible to strangers', async () => {
      const talk = await crew();
      const row = await send(bob, talk.id, 'mine');
      for (const [who, what, value] of [[carl, 'edit', 'x'], [ann, 'edit', 'x'], [carl, 'delete']]) {
        assert.equal((await does(who, talk, row.id, what, value)).code, route.forbidden, what);
      }
      for (const [what, value] of [['edit', 'x'], ['delete'], ['react', THUMB], ['unreact', THUMB]]) {
        assert.equal((await does(eve, talk, row.id, what, value)).code, route.invisible, what);
        assert.equal((await does(bob, talk, UNKNOWN, what, value)).code, route.invisible, what);
      }
      assert.equal((await events(bob, talk)).headSeq, 1);
      assert.equal((await wholeHistory(bob, talk.id))[0].content, 'mine');
    });

    test('G-05 the owner of a group deletes for everybody; in a direct conversation each only the own', async () => {
      const talk = await crew();
      const row = await send(bob, talk.id, 'x');
      await done(ann, talk, row.id, 'delete');
      assert.equal((await events(carl, talk)).events.at(-1).data.by, ann.id);
      const pair = await direct(ann, bob);
      const theirs = await send(bob, pair.id, 'x');
      assert.equal((await does(ann, pair, theirs.id, 'delete')).code, route.forbidden);
      await done(bob, pair, theirs.id, 'delete');
    });

    test('N28 after deletion: no edit, no reaction, CONFLICT', async () => {
      const talk = await crew();
      const row = await send(ann, talk.id, 'x');
      await done(bob, talk, row.id, 'react', THUMB);
      await done(ann, talk, row.id, 'delete');
      for (const [who, what, value] of [[ann, 'edit', 'y'], [bob, 'react', HEART], [bob, 'unreact', THUMB]]) {
        assert.equal((await does(who, talk, row.id, what, value)).code, 'CONFLICT', what);
      }
      const reply = await send(bob, talk.id, 'to what is gone', { replyTo: row.id });
      assert.equal(reply.reply_to, row.id);
    });

    for (const [what, value, field] of [
      ['edit', '', 'content'], ['edit', 'x'.repeat(2_001), 'content'], ['edit', 'a\u0000b', 'content'], ['edit', 5, 'content'], ['edit', null, 'content'],
      ['react', 'a', 'emoji'], ['react', 'ab', 'emoji'], ['react', THUMB + THUMB, 'emoji'], ['react', `${FAMILY}\u200d`, 'emoji'], ['react', '\u{1f1ee}', 'emoji'], ['react', ' ', 'emoji'],
      ['react', Array(12).fill('\u{1f469}').join('\u200d'), 'emoji'], ['unreact', 'x', 'emoji'],
    ]) {
      test(`N29 ${what} ${JSON.stringify(value)?.slice(0, 24)}: INVALID_DATA names ${field}`, async () => {
        const talk = await crew();
        const row = await send(ann, talk.id, 'x');
        const answer = await does(ann, talk, row.id, what, value);
        assert.deepEqual([answer.code, answer.field], ['INVALID_DATA', field]);
        assert.equal((await events(ann, talk)).headSeq, 1);
      });
    }

    test('G-06 twenty different reactions at most; one more of those is welcome', async () => {
      const talk = await crew();
      const row = await send(ann, talk.id, 'x');
      for (let n = 0; n < 20; n += 1) await done(n % 2 ? ann : bob, talk, row.id, 'react', String.fromCodePoint(0x1f600 + n));
      assert.equal((await does(carl, talk, row.id, 'react', THUMB)).code, 'CONFLICT');
      const { reactions } = await done(carl, talk, row.id, 'react', String.fromCodePoint(0x1f600));
      assert.deepEqual([reactions.length, reactions[0].count], [20, 2]);
    });

    test('2.3 blocked people reach nobody by edits and reactions; the own message may go', async () => {
      const [one, other] = await people(server, 'one', 'other');
      const talk = await direct(one, other);
      const [mine, theirs] = [await send(one, talk.id, 'x'), await send(other, talk.id, 'y')];
      await other.rest.patch(`/api/users/contacts/${one.id}`, { status: 'blocked' });
      await sleep(1_000); // P2
      for (const [who, id, what, value, code] of [[one, mine.id, 'edit', 'z', 'USER_UNAVAILABLE'], [one, theirs.id, 'react', THUMB, 'USER_UNAVAILABLE'], [other, mine.id, 'react', THUMB, 'BLOCKED'], [other, theirs.id, 'edit', 'z', 'BLOCKED']]) {
        assert.equal((await does(who, talk, id, what, value)).code, code, what);
      }
      await done(one, talk, mine.id, 'delete');
      [one, other].forEach((who) => who.close());
    });
  });
}

describe('G-24 and M2', needs('objects'), () => {
  test('G-24 earlier contents, oldest first', async () => {
    const talk = await crew();
    const row = await send(ann, talk.id, 'one');
    assert.deepEqual((await bob.rest.get(message(row.id, '/edits'))).body, []);
    await ann.rest.patch(message(row.id), { content: 'two' });
    await send(bob, talk.id, 'between');
    const { body: last } = await ann.rest.patch(message(row.id), { content: 'three' });
    const { status, body } = await bob.rest.get(message(row.id, '/edits'));
    assert.equal(status, 200);
    assert.deepEqual(body.map(({ content }) => content), ['one', 'two']);
    body.forEach((edit) => { exactly(edit, ['content', 'edited_at']); isTime(edit.edited_at); });
    assert.equal(body[1].edited_at, last.edited_at);
    for (const [who, id] of [[eve, row.id], [ann, UNKNOWN], [ann, 'nonsense']]) isError(await who.rest.get(message(id, '/edits')), 404, 'NOT_FOUND');
  });

  test('N28 what one may not see is byte-identical to what is not', async () => {
    const talk = await crew();
    const row = await send(ann, talk.id, 'x');
    for (const ask of [(id) => eve.rest.patch(message(id), { content: 'y' }), (id) => eve.rest.delete(message(id)), (id) => eve.rest.put(reaction(id, THUMB)), (id) => eve.rest.get(message(id, '/edits'))]) {
      const [foreign, missing] = [await ask(row.id), await ask(UNKNOWN)];
      assert.deepEqual([foreign.status, foreign.text], [404, missing.text]);
    }
    isError(await bob.rest.patch(message(row.id), { content: 'y' }), 403, 'PERMISSION_DENIED');
    isError(await bob.rest.delete(message(row.id)), 403, 'PERMISSION_DENIED');
    await ann.rest.delete(message(row.id));
    isError(await ann.rest.patch(message(row.id), { content: 'y' }), 409, 'CONFLICT');
    assert.equal((await ann.rest.post(message(row.id))).status, 405);
  });

  test('M2 the key of an edited and of a deleted message still answers', async () => {
    const talk = await crew();
    const body = { content: 'first', type: 'text', clientId: clientId() };
    const path = `/api/chats/conversations/${talk.id}/messages`;
    const { body: { message: row } } = await ann.rest.post(path, body);
    for (const change of [() => ann.rest.patch(message(row.id), { content: 'second' }), () => ann.rest.delete(message(row.id))]) {
      const { body: now } = await change();
      const again = await ann.rest.post(path, body);
      assert.deepEqual([again.status, again.body.message.id, again.body.message.content], [200, row.id, now.content]);
      isError(await ann.rest.post(path, { ...body, content: 'second' }), 409, 'CONFLICT');
    }
  });

  test('the list shows what became of the newest message', async () => {
    const talk = await crew();
    const row = await send(ann, talk.id, 'first');
    await ann.rest.patch(message(row.id), { content: 'second' });
    assert.equal((await listed(bob, talk.id, 2)).lastMessage.content, 'second');
    await ann.rest.delete(message(row.id));
    const { lastMessage, unreadCount } = await listed(bob, talk.id, 3);
    isTime(lastMessage.deleted_at);
    assert.deepEqual([lastMessage.content, unreadCount], ['', 1]);
  });

  test('R-12 a message far back in the history is edited, reacted to and deleted like any other', needs('unlimited'), async () => {
    const talk = await crew();
    const rows = [];
    for (let n = 0; n < 3; n += 1) rows.push(await send(ann, talk.id, `old ${n}`));
    const client = await bob.connect(straight);
    for (let sent = 0; sent < 210; sent += 30) await Promise.all(span(1, 30).map((n) => client.ok('chat:message', { conversationId: talk.id, content: `${sent + n}`, type: 'text' })));
    await ann.rest.patch(message(rows[0].id), { content: 'new 0' });
    await bob.rest.put(reaction(rows[1].id, THUMB));
    await ann.rest.delete(message(rows[2].id));
    const history = await wholeHistory(carl, talk.id);
    assert.deepEqual(history.slice(0, 3).map(({ content, reactions }) => [content, reactions.length]), [['new 0', 0], ['old 1', 1], ['', 0]]);
    assert.deepEqual((await ann.rest.get(message(rows[0].id, '/edits'))).body.map(({ content }) => content), ['old 0']);
    const seen = [];
    for (let at = 0, more = true; more;) {
      const page = await events(carl, talk, `after=${at}&limit=100`);
      seen.push(...page.events);
      ({ more } = page);
      at = page.events.at(-1).seq;
    }
    assert.deepEqual(seen.map(({ seq }) => seq), span(1, 216));
    assert.deepEqual(seen.slice(-3).map(({ event }) => event), ['chat:edited', 'chat:reaction', 'chat:deleted']);
    client.close();
  });
});

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(`sockets, ${name}`, needs('objects', name === 'websocket only' ? 'websocket' : 'polling'), () => {
    test('E-036 E-038 E-040 every socket of every member is told, once, in order, with its own `me`', async () => {
      const talk = await crew();
      const clients = await Promise.all([ann, ann, bob, carl].map((who) => who.connect(transports)));
      const [a, , b, c] = clients;
      const { message: row } = await a.ok('chat:message', { conversationId: talk.id, content: 'helo', type: 'text' });
      const named = { conversationId: talk.id, messageId: row.id };
      await a.ok('chat:edit', { ...named, content: 'hello' });
      await b.ok('chat:react', { ...named, emoji: THUMB, on: true });
      await a.ok('chat:edit', { ...named, content: 'hello!' });
      await b.ok('chat:react', { ...named, emoji: THUMB, on: false });
      await a.ok('chat:delete', named);
      for (const client of clients) {
        await client.next('chat:deleted');
        const seen = bySeq(client, talk);
        assert.deepEqual(seen.map((event) => event.name), ['chat:message', 'chat:edited', 'chat:reaction', 'chat:edited', 'chat:reaction', 'chat:deleted']);
        assert.deepEqual(seen.map((event) => event.payload.seq), span(1, 6));
        const [, edited, reacted, again, taken, deleted] = seen.map((event) => event.payload);
        exactly(edited, ['conversationId', 'seq', 'message']);
        assert.deepEqual([edited.message.content, again.message.content, edited.message.seq], ['hello', 'hello!', 1]);
        const reactions = [{ emoji: THUMB, count: 1, user_ids: [bob.id], me: client === b }];
        assert.deepEqual(reacted, { conversationId: talk.id, seq: 3, messageId: row.id, userId: bob.id, emoji: THUMB, on: true, reactions });
        assert.deepEqual(again.message.reactions, reactions);
        assert.deepEqual(taken, { conversationId: talk.id, seq: 5, messageId: row.id, userId: bob.id, emoji: THUMB, on: false, reactions: [] });
        isTime(deleted.deleted_at);
        assert.deepEqual({ ...deleted, deleted_at: null }, { conversationId: talk.id, seq: 6, messageId: row.id, by: ann.id, deleted_at: null });
      }
      isId(row.id);
      assert.ok(c);
      clients.forEach((client) => client.close());
    });

    test('E-046 G-23 what was missed comes in its place, as it is now, then live events go on', async () => {
      const talk = await crew();
      const [one, two] = [await send(ann, talk.id, 'one'), await send(ann, talk.id, 'two')];
      await ann.rest.patch(message(one.id), { content: 'one!' });
      await bob.rest.put(reaction(one.id, HEART));
      await ann.rest.delete(message(two.id));
      await send(ann, talk.id, 'three');
      const b = await bob.connect(transports);
      const { heads } = await b.resume({ [talk.id]: 1 });
      assert.equal(heads[talk.id], 6);
      const replayed = bySeq(b, talk);
      assert.deepEqual(replayed.map((event) => [event.payload.seq, event.name]), [[2, 'chat:message'], [3, 'chat:edited'], [4, 'chat:reaction'], [5, 'chat:deleted'], [6, 'chat:message']]);
      assert.deepEqual([replayed[0].payload.content, replayed[1].payload.message.content, replayed[1].payload.message.reactions[0].me], ['', 'one!', true]);
      const { events: pulled } = await events(bob, talk, 'after=1');
      assert.deepEqual(pulled, replayed.map((event) => ({ seq: event.payload.seq, event: event.name, data: event.payload })), 'the REST twin says the same');
      await ann.rest.put(reaction(one.id, HEART));
      await b.next('chat:reaction', ({ userId }) => userId === ann.id);
      assert.deepEqual(bySeq(b, talk).map((event) => event.payload.seq), span(2, 7));
      b.close();
    });

    test('M5 E-046 no gap and no repeat while others keep changing messages', async () => {
      const talk = await crew();
      const row = await send(ann, talk.id, 'x');
      let on = true;
      let head = 1;
      const changing = (async () => {
        for (; on; head += 1) {
          if (head % 3 === 0) await send(ann, talk.id, `m${head}`);
          else if (head % 3 === 1) await ann.rest.patch(message(row.id), { content: `x${head}` });
          else await bob.rest[head % 2 ? 'put' : 'delete'](reaction(row.id, String.fromCodePoint(0x1f600 + Math.floor(head / 6) % 20)));
        }
      })();
      let held = 1;
      try {
        for (let round = 0; round < 5; round += 1) {
          const c = await carl.connect(transports);
          await c.resume({ [talk.id]: held });
          await c.next('chat:edited', ({ conversationId }) => conversationId === talk.id, { from: c.mark });
          // Live events that came before the resume may repeat in the replay; from there on there is one run.
          const seqs = bySeq(c, talk).map(({ payload }) => payload.seq);
          const run = seqs.slice(seqs.lastIndexOf(held + 1));
          assert.deepEqual(run, span(held + 1, held + run.length));
          held = run.at(-1);
          if (round % 2) c.cut(); else c.close();
        }
      } finally {
        on = false;
        await changing;
      }
    });

    test('E-059 bad payloads are refused by field, nothing happens', async () => {
      const talk = await crew();
      const row = await send(ann, talk.id, 'x');
      const a = await ann.connect(transports);
      const named = { conversationId: talk.id, messageId: row.id };
      for (const [event, payload, field] of [
        ['chat:edit', null, 'payload'], ['chat:edit', { messageId: row.id, content: 'x' }, 'conversationId'], ['chat:edit', { conversationId: talk.id, content: 'x' }, 'messageId'],
        ['chat:edit', { ...named, messageId: { $gt: '' }, content: 'x' }, 'messageId'], ['chat:edit', named, 'content'], ['chat:delete', { conversationId: talk.id, messageId: 'x' }, 'messageId'],
        ['chat:react', { ...named, on: true }, 'emoji'], ['chat:react', { ...named, emoji: THUMB }, 'on'], ['chat:react', { ...named, emoji: THUMB, on: 'yes' }, 'on'],
      ]) {
        assert.equal((await a.refused('INVALID_DATA', event, payload)).field, field, JSON.stringify(payload));
      }
      a.emit('chat:delete', { ...named, messageId: UNKNOWN });
      assert.deepEqual(await a.next('error').then(({ code, event }) => [code, event]), ['PERMISSION_DENIED', 'chat:delete']);
      assert.equal((await events(ann, talk)).headSeq, 1);
      a.close();
    });
  });
}
