// Chat over sockets, with stock clients on every transport: two and three people, several devices. E-002..E-009, E-033, E-034.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientId, direct, group, people, send, wholeHistory } from '../support/people.mjs';
import { openSocket } from '../support/raw.mjs';
import { isMember, isMessage, isMessageEvent } from '../support/shapes.mjs';
import { straight, TRANSPORTS } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const text = (conversationId, content, more = {}) => ({ conversationId, content, type: 'text', ...more });
const exactly = (object, keys) => assert.deepEqual(Object.keys(object).sort(), [...keys].sort());

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(name, needs('objects', name === 'websocket only' ? 'websocket' : 'polling'), () => {
    /** People in one conversation, each with a client. */
    const together = async (...names) => {
      const all = await people(server, ...names);
      const talk = all.length === 2 ? await direct(all[0], all[1]) : await group(all[0], all.slice(1));
      const clients = await Promise.all(all.map((one) => one.connect(transports)));
      return { all, talk, clients, end: () => all.forEach((one) => one.close()) };
    };

    test('E-004 E-005 a message reaches every socket of every member, the sender\'s included', async () => {
      const { all: [ann, bob], talk, clients: [a, b, e], end } = await together('ann', 'bob', 'eve');
      const [a2, b2] = [await ann.connect(transports), await bob.connect(straight)];
      const key = clientId();
      const ack = await a.ok('chat:message', text(talk.id, 'hello', { clientId: key, metadata: { x: 1 } }));
      exactly(ack, ['ok', 'message']);
      isMessage(ack.message, { sender_id: ann.id, client_id: key, content: 'hello', seq: 1, metadata: { x: 1 } });
      for (const client of [a, a2, b, b2, e]) {
        const event = await client.next('chat:message');
        isMessageEvent(event, { id: ack.message.id, seq: 1, content: 'hello', sender_id: ann.id, sender_username: ann.username, client_id: key, metadata: { x: 1 } });
        const { args } = client.events.find((one) => one.name === 'chat:message');
        assert.ok(args.length === 2 && typeof args[1] === 'string', 'the payload and an offset (G-17)');
      }
      await sleep(150);
      for (const client of [a, a2, b, b2, e]) assert.equal(client.all('chat:message').length, 1, 'once');
      end();
    });

    test('E-005 joined or not: a member who does nothing gets events of a conversation made later', async () => {
      const [ann, bob] = await people(server, 'ann', 'bob');
      const b = await bob.connect(transports);
      const talk = await direct(ann, bob);
      await send(ann, talk.id, 'by REST');
      isMessageEvent(await b.next('chat:message'), { content: 'by REST', conversation_id: talk.id });
      bob.close();
    });

    test('E-005 people outside hear nothing', async () => {
      const { all: [ann], talk, clients: [a, b], end } = await together('ann', 'bob');
      const [eve] = await people(server, 'eve');
      const e = await eve.connect(transports);
      await e.resume();
      await a.ok('chat:message', text(talk.id, 'private'));
      await b.next('chat:message');
      await e.none('chat:message');
      assert.ok(ann);
      eve.close();
      end();
    });

    test('M3 40 sends of two people at once: all see one order', async () => {
      const { talk, clients: [a, b], end } = await together('ann', 'bob');
      const acks = await Promise.all(Array.from({ length: 40 }, (_, n) => (n % 2 ? a : b).ok('chat:message', text(talk.id, `m${n}`, { clientId: `m${n}-${talk.id}` }))));
      assert.deepEqual(acks.map((ack) => ack.message.seq).sort((x, y) => x - y), Array.from({ length: 40 }, (_, n) => n + 1));
      for (const client of [a, b]) {
        await client.count('chat:message', 40);
        assert.deepEqual(client.seqs(talk.id), Array.from({ length: 40 }, (_, n) => n + 1));
      }
      assert.deepEqual(a.all('chat:message').map(({ id }) => id), b.all('chat:message').map(({ id }) => id));
      end();
    });

    test('M3 what one client sends keeps its order', async () => {
      const { all: [ann], talk, clients: [a, b], end } = await together('ann', 'bob');
      for (let n = 0; n < 50; n += 1) a.emit('chat:message', text(talk.id, `${n}`));
      await b.count('chat:message', 50);
      const wanted = Array.from({ length: 50 }, (_, n) => `${n}`);
      assert.deepEqual(b.all('chat:message').map(({ content }) => content), wanted);
      assert.deepEqual((await wholeHistory(ann, talk.id)).map(({ content }) => content), wanted);
      end();
    });

    test('M8 after the ack the history has it, and the sender\'s other device gets it', async () => {
      const { all: [ann], talk, clients: [a], end } = await together('ann', 'bob');
      const a2 = await ann.connect(transports);
      for (let n = 0; n < 5; n += 1) {
        const { message } = await a.ok('chat:message', text(talk.id, `m${n}`));
        const answer = await ann.rest.get(`/api/chats/conversations/${talk.id}/messages?limit=1`);
        assert.equal(answer.body[0].id, message.id);
        await a2.next('chat:message', (event) => event.id === message.id);
      }
      end();
    });

    test('M2 a repeat over a socket gets the first answer and is not sent to anybody again', async () => {
      const { talk, clients: [a, b], end } = await together('ann', 'bob');
      const body = text(talk.id, 'once', { clientId: clientId() });
      const first = await a.ok('chat:message', body);
      const again = await a.ok('chat:message', body);
      assert.deepEqual(again.message, first.message);
      await a.refused('CONFLICT', 'chat:message', { ...body, content: 'other' });
      await b.next('chat:message');
      await sleep(200);
      assert.equal(b.all('chat:message').length, 1);
      end();
    });

    test('E-002 join answers head, own mark and members', async () => {
      const { all: [ann, bob], talk, clients: [a], end } = await together('ann', 'bob');
      await send(bob, talk.id, 'x');
      const ack = await a.ok('chat:join', talk.id);
      exactly(ack, ['ok', 'conversationId', 'seq', 'readSeq', 'members']);
      assert.equal(ack.conversationId, talk.id);
      assert.equal(ack.seq, 1);
      assert.equal(ack.readSeq, 0);
      ack.members.forEach(isMember);
      assert.deepEqual(ack.members.map(({ id }) => id).sort(), [ann.id, bob.id].sort());
      end();
    });

    test('E-006 E-007 typing flows to those who opened the conversation, never to the one who types', async () => {
      const { all: [ann, bob], talk, clients: [a, b, e], end } = await together('ann', 'bob', 'eve');
      const [a2, b2] = [await ann.connect(transports), await bob.connect(transports)];
      for (const client of [a, a2, b]) await client.ok('chat:join', talk.id);
      a.emit('chat:typing', { conversationId: talk.id });
      assert.deepEqual(await b.next('chat:typing'), { conversationId: talk.id, userId: ann.id, username: ann.username });
      a.emit('chat:stopTyping', { conversationId: talk.id });
      assert.deepEqual(await b.next('chat:stopTyping'), { conversationId: talk.id, userId: ann.id });
      await sleep(150);
      for (const client of [a, a2, b2, e]) assert.deepEqual([...client.all('chat:typing'), ...client.all('chat:stopTyping')], []);
      end();
    });

    test('E-003 after leave no typing flows, messages still do', async () => {
      const { talk, clients: [a, b], end } = await together('ann', 'bob');
      for (const client of [a, b]) await client.ok('chat:join', talk.id);
      assert.deepEqual(await b.call('chat:leave', talk.id), { ok: true });
      a.emit('chat:typing', { conversationId: talk.id });
      await a.ok('chat:message', text(talk.id, 'still'));
      await b.next('chat:message');
      await b.none('chat:typing', () => true, { ms: 200 });
      end();
    });

    test('E-008 E-009 marking read: ack, everybody told, the reader\'s other sockets too', async () => {
      const { all: [ann, bob], talk, clients: [a, b], end } = await together('ann', 'bob');
      const b2 = await bob.connect(transports);
      const rows = [];
      for (let n = 0; n < 3; n += 1) rows.push(await send(ann, talk.id, `m${n}`));
      assert.deepEqual(await b.call('chat:markRead', { conversationId: talk.id, upTo: 2 }), { ok: true, readSeq: 2 });
      for (const client of [a, b2]) {
        const event = await client.next('chat:read');
        exactly(event, ['conversationId', 'userId', 'messageIds', 'upTo']);
        assert.equal(event.userId, bob.id);
        assert.equal(event.upTo, 2);
        assert.deepEqual([...event.messageIds].sort(), rows.slice(0, 2).map(({ id }) => id).sort());
      }
      assert.deepEqual(await b.call('chat:markRead', { conversationId: talk.id, messageIds: [rows[2].id] }), { ok: true, readSeq: 3 });
      assert.equal((await a.next('chat:read', (event) => event.upTo === 3)).userId, bob.id);
      const history = await wholeHistory(ann, talk.id);
      assert.deepEqual(history.map(({ read_by }) => read_by), [[bob.id], [bob.id], [bob.id]]);
      end();
    });

    test('M7 marks only rise', async () => {
      const { all: [ann], talk, clients: [, b], end } = await together('ann', 'bob');
      for (let n = 0; n < 4; n += 1) await send(ann, talk.id, `m${n}`);
      const answers = await Promise.all([3, 1, 4, 2, 4].map((upTo) => b.ok('chat:markRead', { conversationId: talk.id, upTo })));
      assert.ok(answers.every(({ readSeq }) => readSeq <= 4));
      assert.equal((await b.ok('chat:markRead', { conversationId: talk.id, upTo: 1 })).readSeq, 4);
      assert.equal((await b.ok('chat:join', talk.id)).readSeq, 4);
      const beyond = await b.call('chat:markRead', { conversationId: talk.id, upTo: 1_000 });
      if (beyond.ok) assert.equal(beyond.readSeq, 4);
      end();
    });

    test('E-033 E-034 delivered marks reach the others within 3 s and a bit', async () => {
      const { all: [ann, bob], talk, clients: [a, b], end } = await together('ann', 'bob');
      await a.resume();
      await b.resume();
      const { message } = await a.ok('chat:message', text(talk.id, 'x'));
      await b.next('chat:message');
      b.emit('chat:delivered', { conversationId: talk.id, upTo: message.seq });
      const event = await a.next('chat:receipts', (receipt) => receipt.userId === bob.id && receipt.deliveredSeq === message.seq, { ms: 6_000 });
      exactly(event, ['conversationId', 'userId', 'deliveredSeq', 'readSeq']);
      assert.equal(event.conversationId, talk.id);
      assert.equal(event.readSeq, 0);
      assert.ok(ann);
      end();
    });
  });
}

describe('refusals', needs('objects'), () => {
  let ann;
  let bob;
  let eve;
  let talk;
  let a;
  let b;
  let e;
  before(async () => {
    [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    talk = await direct(ann, bob);
    [a, b, e] = await Promise.all([ann, bob, eve].map((who) => who.connect(straight)));
    for (const client of [a, b]) await client.ok('chat:join', talk.id);
    await a.ok('chat:message', text(talk.id, 'secret'));
  });
  after(() => [ann, bob, eve].forEach((who) => who?.close()));

  const missing = '0195f09e-6c3e-7b1a-9d52-0d6f0a1b2c3d';

  test('N20 joining a foreign conversation: PERMISSION_DENIED, like one that is not there, and no event of it', async () => {
    const foreign = await e.call('chat:join', talk.id);
    assert.equal(foreign.error?.code, 'PERMISSION_DENIED');
    assert.deepEqual(foreign, await e.call('chat:join', missing));
    await a.ok('chat:message', text(talk.id, 'still secret'));
    a.emit('chat:typing', { conversationId: talk.id });
    await b.next('chat:typing');
    await sleep(2_000);
    assert.deepEqual(e.events.filter(({ name }) => name.startsWith('chat:')), []);
  });

  for (const [event, payload] of [
    ['chat:message', (id) => text(id, 'intruder')], ['chat:typing', (id) => ({ conversationId: id })], ['chat:stopTyping', (id) => ({ conversationId: id })], ['chat:markRead', (id) => ({ conversationId: id, upTo: 1 })],
    ['chat:delivered', (id) => ({ conversationId: id, upTo: 1 })],
  ]) {
    test(`N22 ${event} for a foreign conversation: PERMISSION_DENIED, nothing reaches it`, async () => {
      const mark = b.mark;
      const foreign = await e.call(event, payload(talk.id));
      assert.equal(foreign.error?.code, 'PERMISSION_DENIED', JSON.stringify(foreign));
      assert.deepEqual(foreign, await e.call(event, payload(missing)));
      await sleep(150);
      assert.deepEqual(b.events.slice(mark).filter(({ payload: seen }) => seen?.userId === eve.id || seen?.sender_id === eve.id), []);
    });
  }

  test('N22 ids of two conversations in one markRead: error, nothing marked', async () => {
    const other = await group(ann, [bob]);
    const foreign = await send(ann, other.id, 'elsewhere');
    const [own] = await wholeHistory(bob, talk.id);
    const before_ = (await b.ok('chat:join', talk.id)).readSeq;
    const ack = await b.call('chat:markRead', { conversationId: talk.id, messageIds: [own.id, foreign.id] });
    assert.equal(ack.error?.code, 'INVALID_DATA', JSON.stringify(ack));
    assert.equal((await b.ok('chat:join', talk.id)).readSeq, before_);
    // Whatever comes of it would come before this.
    await b.ok('chat:message', text(talk.id, 'after the ids of two'));
    await a.next('chat:message', ({ content }) => content === 'after the ids of two');
    assert.deepEqual(a.all('chat:read', ({ userId }) => userId === bob.id), []);
  });

  test('N23 senderId and friends in a socket message are ignored', async () => {
    const as = (who) => ({ senderId: who.id, sender_id: who.id, userId: who.id, from: who.id, fromName: who.username, callerId: who.id, username: who.username });
    const ack = await a.ok('chat:message', text(talk.id, 'me', as(bob)));
    assert.deepEqual([ack.message.sender_id, ack.message.sender_username], [ann.id, ann.username]);
    const named = { conversationId: talk.id, messageId: ack.message.id };
    for (const [event, payload, told, by] of [
      ['chat:react', { ...named, emoji: '\u{1f44d}', on: true }, 'chat:reaction', 'userId'], ['chat:markRead', { conversationId: talk.id, upTo: ack.message.seq }, 'chat:read', 'userId'], ['chat:delete', named, 'chat:deleted', 'by'],
    ]) {
      const from = b.mark;
      await a.ok(event, { ...payload, ...as(bob), by: bob.id });
      assert.equal((await b.next(told, () => true, { from }))[by], ann.id, event);
    }
    await a.refused('PERMISSION_DENIED', 'chat:edit', { conversationId: talk.id, messageId: (await b.ok('chat:message', text(talk.id, 'mine'))).message.id, content: 'x', ...as(bob) });
    a.emit('chat:typing', { conversationId: talk.id, userId: eve.id, username: 'eve' });
    assert.equal((await b.next('chat:typing', () => true, { from: b.mark - 1 })).userId, ann.id);
  });

  for (const [name, payload, field] of [
    ['no content', { type: 'text' }, 'content'], ['empty content', { content: '', type: 'text' }, 'content'], ['2,001 code points', { content: 'x'.repeat(2_001), type: 'text' }, 'content'], ['NUL', { content: 'a\u0000', type: 'text' }, 'content'],
    ['an object', { content: {}, type: 'text' }, 'content'], ['type system', { content: 'x', type: 'system' }, 'type'], ['a long clientId', { content: 'x', type: 'text', clientId: 'k'.repeat(65) }, 'clientId'],
  ]) {
    test(`N56 ${name}: INVALID_DATA names ${field}, nothing is stored`, async () => {
      const before_ = (await wholeHistory(ann, talk.id)).length;
      const error = await a.refused('INVALID_DATA', 'chat:message', { conversationId: talk.id, ...payload });
      assert.equal(error.field, field);
      assert.equal((await wholeHistory(ann, talk.id)).length, before_);
    });
  }

  test('N56 a lone surrogate: INVALID_DATA, nothing is stored', needs('websocket'), async () => {
    const before_ = (await wholeHistory(ann, talk.id)).length;
    const raw = await openSocket(server.baseUrl);
    raw.send(`40${JSON.stringify({ token: ann.token })}`);
    await raw.until((packet) => packet.startsWith('40'));
    raw.send(`421["chat:message",{"conversationId":"${talk.id}","content":"a\\ud800b","type":"text"}]`);
    assert.match(await raw.until((packet) => packet.startsWith('431')), /"INVALID_DATA"/);
    assert.equal((await wholeHistory(ann, talk.id)).length, before_);
    raw.close();
  });

  for (const [name, content] of [
    ['markup', '<img src=x onerror=alert(1)><script>alert(1)</script>'], ['links that run', '[a](javascript:alert(1)) data:text/html,<b>'], ['a right-to-left override', 'abc\u202efed\u2066x'],
  ]) {
    test(`N56 ${name} is text, exactly as sent, for everybody`, async () => {
      const { message } = await a.ok('chat:message', text(talk.id, content));
      assert.equal(message.content, content);
      assert.equal((await b.next('chat:message', ({ id }) => id === message.id)).content, content);
      assert.equal((await wholeHistory(bob, talk.id)).at(-1).content, content);
    });
  }

  test('N56 2,000 code points of four bytes pass, with the callback and to the other', async () => {
    const content = '\u{1f44d}'.repeat(2_000);
    const { message } = await a.ok('chat:message', text(talk.id, content));
    assert.equal(message.content, content);
    assert.equal((await b.next('chat:message', (event) => event.id === message.id)).content, content);
  });

  test('R-09 typing and marks of a person one blocked vanish silently', async () => {
    const [cat, dan] = await people(server, 'cat', 'dan');
    const pair = await direct(cat, dan);
    const [c, d] = [await cat.connect(straight), await dan.connect(straight)];
    for (const client of [c, d]) await client.ok('chat:join', pair.id);
    await c.ok('chat:message', text(pair.id, 'before'));
    await cat.rest.patch(`/api/users/contacts/${dan.id}`, { status: 'blocked' });
    await sleep(1_000); // P2
    const mark = c.mark;
    d.emit('chat:typing', { conversationId: pair.id });
    await d.call('chat:markRead', { conversationId: pair.id, upTo: 1 });
    await d.refused('USER_UNAVAILABLE', 'chat:message', text(pair.id, 'after'));
    await c.refused('BLOCKED', 'chat:message', text(pair.id, 'after'));
    await sleep(300);
    assert.deepEqual(c.events.slice(mark).filter(({ name, payload }) => name.startsWith('chat:') && payload?.userId === dan.id), []);
    [cat, dan].forEach((who) => who.close());
  });
});

test('E-005 binary inside a message is refused, the connection lives', needs('objects'), async () => {
  const [ann, bob] = await people(server, 'ann', 'bob');
  const talk = await direct(ann, bob);
  const a = await ann.connect(straight);
  const ack = await a.call('chat:message', { conversationId: talk.id, content: Buffer.from('bytes'), type: 'text' });
  assert.equal(ack.error?.code, 'INVALID_DATA');
  const odd = await a.call('chat:message', text(talk.id, 'x', { metadata: { blob: Buffer.from([1, 2]) } }));
  assert.ok(odd.ok || odd.error, JSON.stringify(odd));
  await a.ok('chat:message', text(talk.id, 'y'));
  ann.close();
});
