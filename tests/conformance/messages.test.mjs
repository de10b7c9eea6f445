// Messages over REST: sending, idempotency, history with every cursor, durable events. R-12, G-22, G-23, M2, M3, N56.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { clientId, direct, group, people, send, wholeHistory } from '../support/people.mjs';
import { isError, isMessage, isMessageEvent } from '../support/shapes.mjs';
import { straight } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
let ann;
let bob;
let eve;
before(async () => {
  server = await target();
  [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
});
after(() => server?.stop());

const path = (conversation, rest = 'messages') => `/api/chats/conversations/${conversation.id}/${rest}`;
const post = (who, conversation, body) => who.rest.post(path(conversation), body);
const crew = () => group(ann, [bob]);

describe('G-22', needs('objects'), () => {
  test('G-22 a message is 201 with the whole row', async () => {
    const talk = await crew();
    const key = clientId();
    const answer = await post(ann, talk, { content: 'hello', type: 'text', clientId: key, metadata: { a: [1, { b: 'c' }] } });
    assert.equal(answer.status, 201);
    assert.deepEqual(Object.keys(answer.body).sort(), ['message', 'ok']);
    assert.equal(answer.body.ok, true);
    isMessage(answer.body.message, {
      conversation_id: talk.id, seq: 1, client_id: key, sender_id: ann.id, sender_username: ann.username, content: 'hello', type: 'text', reply_to: null, read_by: [], metadata: { a: [1, { b: 'c' }] },
    });
  });

  test('M3 seq is dense and rising, ids rise with it', async () => {
    const talk = await crew();
    const rows = [];
    for (let n = 0; n < 10; n += 1) rows.push(await send(n % 2 ? ann : bob, talk.id, `m${n}`));
    assert.deepEqual(rows.map(({ seq }) => seq), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const ids = rows.map(({ id }) => id);
    assert.deepEqual(ids, [...ids].sort());
  });

  test('M3 100 sends at once: 100 numbers without holes', async () => {
    const talk = await crew();
    const rows = await Promise.all(Array.from({ length: 100 }, (_, n) => send(n % 2 ? ann : bob, talk.id, `m${n}`)));
    assert.deepEqual(rows.map(({ seq }) => seq).sort((a, b) => a - b), Array.from({ length: 100 }, (_, n) => n + 1));
    const ids = [...rows].sort((a, b) => a.seq - b.seq).map(({ id }) => id);
    assert.deepEqual(ids, [...ids].sort());
  });

  test('M8 after the answer the message is in the history of both', async () => {
    const talk = await crew();
    for (let n = 0; n < 5; n += 1) {
      const message = await send(ann, talk.id, `m${n}`);
      for (const who of [ann, bob]) assert.equal((await who.rest.get(`${path(talk)}?limit=1`)).body[0].id, message.id);
    }
  });

  test('N23 senderId, userId, from and the like are ignored', async () => {
    const talk = await crew();
    const message = await send(ann, talk.id, 'x', { senderId: bob.id, sender_id: bob.id, userId: bob.id, from: bob.id, fromName: bob.username, seq: 77, id: '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d', created_at: '2001-01-01T00:00:00.000Z', edited_at: '2001-01-01T00:00:00.000Z' });
    isMessage(message, { sender_id: ann.id, sender_username: ann.username, seq: 1 });
    assert.ok(Date.now() - Date.parse(message.created_at) < 60_000);
  });

  test('reply_to names a message of the same conversation', async () => {
    const talk = await crew();
    const first = await send(ann, talk.id, 'question');
    isMessage(await send(bob, talk.id, 'answer', { replyTo: first.id }), { reply_to: first.id });
  });

  test('replyTo of another conversation or of nothing is refused', async () => {
    const [talk, other] = [await crew(), await crew()];
    const foreign = await send(ann, other.id, 'elsewhere');
    for (const replyTo of [foreign.id, '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d', 'nonsense', 7, {}]) {
      const answer = await post(ann, talk, { content: 'x', type: 'text', replyTo });
      assert.ok([400, 404].includes(answer.status), answer.text);
    }
    assert.deepEqual(await wholeHistory(ann, talk.id), []);
  });

  for (const [asked, stored] of [['text', 'text'], [undefined, 'text']]) {
    test(`type ${asked} is stored as ${stored}`, async () => {
      const talk = await crew();
      const answer = await post(ann, talk, { content: 'x', type: asked });
      if (asked === undefined && answer.status === 400) return;
      isMessage(answer.body.message, { type: stored });
    });
  }

  for (const type of ['image', 'file', 'voice', 'audio']) {
    test(`C-11 type ${type} with text is a ${type === 'audio' ? 'voice' : type}, or waits for its attachment`, async () => {
      const talk = await crew();
      const answer = await post(ann, talk, { content: 'x', type });
      if (answer.status === 400) return isError(answer, 400, 'INVALID_DATA');
      isMessage(answer.body.message, { type: type === 'audio' ? 'voice' : type });
    });
  }

  const contents = [
    ['plain', 'hello'], ['markup, as sent', '<img src=x onerror=alert(1)> [a](javascript:alert(1))'], ['a right-to-left override', 'abc\u202edef'], ['tabs and newlines', 'a\tb\nc\n\n'],
    ['spaces around', '  x  '], ['only spaces', '   '], ['characters above the first plane', '\u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u{10ffff}'], ['line separators', 'a\u2028b\u2029c'], ['a quote for SQL', "'); DROP TABLE messages; --"],
    ['not normalised', 'e\u0301 \u00e9 \u212b'], ['2,000 code points', 'x'.repeat(2_000)], ['2,000 code points of four bytes', '\u{1f44d}'.repeat(2_000)], ['placeholders', '{"_placeholder":true,"num":0} %s $1 ?1'], ['a BOM', '\ufeffx'], ['DEL', 'a\u007fb'],
  ];
  for (const [name, content] of contents) {
    test(`N56 ${name} is stored exactly as sent`, async () => {
      const talk = await crew();
      const message = await send(ann, talk.id, content);
      assert.equal(message.content, content);
      assert.equal((await bob.rest.get(path(talk))).body[0].content, content);
    });
  }

  for (const [name, body, field] of [
    ['no content', {}, 'content'], ['empty content', { content: '' }, 'content'], ['2,001 code points', { content: 'x'.repeat(2_001) }, 'content'], ['2,001 code points of four bytes', { content: '\u{1f44d}'.repeat(2_001) }, 'content'],
    ['NUL', { content: 'a\u0000b' }, 'content'], ['a control character', { content: 'a\u0007b' }, 'content'], ['escape', { content: '\u001b[31m' }, 'content'], ['a carriage return', { content: 'a\rb' }, 'content'],
    ['a number', { content: 5 }, 'content'], ['an array', { content: ['a'] }, 'content'], ['an object', { content: { $gt: '' } }, 'content'], ['null', { content: null }, 'content'],
    ['type system', { content: 'x', type: 'system' }, 'type'], ['an unknown type', { content: 'x', type: 'poll' }, 'type'], ['a number as type', { content: 'x', type: 3 }, 'type'],
    ['an empty clientId', { content: 'x', clientId: '' }, 'clientId'], ['a clientId of 65', { content: 'x', clientId: 'k'.repeat(65) }, 'clientId'], ['a clientId that is not ASCII', { content: 'x', clientId: 'kl\u00e9' }, 'clientId'],
    ['a clientId with a newline', { content: 'x', clientId: 'a\nb' }, 'clientId'], ['a number as clientId', { content: 'x', clientId: 12 }, 'clientId'],
    ['metadata of 9 KB', { content: 'x', metadata: { a: 'm'.repeat(9_000) } }, 'metadata'],
  ]) {
    test(`N56 N29 ${name}: 400 names ${field}, nothing is stored`, async () => {
      const talk = await crew();
      isError(await post(ann, talk, { type: 'text', ...body }), 400, 'INVALID_DATA', { field });
      assert.deepEqual(await wholeHistory(ann, talk.id), []);
    });
  }

  test('N56 a lone surrogate is 400', async () => {
    const talk = await crew();
    isError(await post(ann, talk, '{"content":"a\\ud800b","type":"text"}'), 400, 'INVALID_DATA');
    assert.deepEqual(await wholeHistory(ann, talk.id), []);
  });

  test('clientId may be all of printable ASCII, 1 to 64', async () => {
    const talk = await crew();
    const ascii = Array.from({ length: 95 }, (_, n) => String.fromCharCode(32 + n)).join('');
    for (const key of ['k', ascii.slice(1, 65), ascii.slice(31)]) isMessage(await send(ann, talk.id, key, { clientId: key }), { client_id: key });
  });
});

describe('M2 idempotency', needs('objects'), () => {
  test('a repeat is 200 with the first answer, and stores nothing', async () => {
    const talk = await crew();
    const body = { content: 'once', type: 'text', clientId: clientId() };
    const first = await post(ann, talk, body);
    await send(bob, talk.id, 'between');
    for (let n = 0; n < 3; n += 1) {
      const again = await post(ann, talk, body);
      assert.equal(again.status, 200);
      assert.deepEqual(again.body, first.body);
    }
    assert.deepEqual((await wholeHistory(ann, talk.id)).map(({ content }) => content), ['once', 'between']);
  });

  test('40 at once: one message, one 201', async () => {
    const talk = await crew();
    const body = { content: 'race', type: 'text', clientId: clientId() };
    const answers = await Promise.all(Array.from({ length: 40 }, () => post(ann, talk, body)));
    assert.equal(answers.filter(({ status }) => status === 201).length, 1);
    assert.equal(answers.filter(({ status }) => status === 200).length, 39);
    assert.equal(new Set(answers.map(({ body: { message } }) => `${message.id} ${message.seq}`)).size, 1);
    assert.equal((await wholeHistory(ann, talk.id)).length, 1);
  });

  test('the same key with other content is CONFLICT and stores nothing', async () => {
    const talk = await crew();
    const key = clientId();
    const first = await send(ann, talk.id, 'one', { clientId: key });
    for (const change of [{ content: 'two' }, { content: 'one', metadata: { x: 1 } }, { content: 'one', replyTo: first.id }]) {
      isError(await post(ann, talk, { type: 'text', clientId: key, ...change }), 409, 'CONFLICT');
    }
    assert.equal((await wholeHistory(ann, talk.id)).length, 1);
    assert.equal((await post(ann, talk, { type: 'text', content: 'one', clientId: key })).status, 200);
  });

  test('a repeat far below the newest message is answered as the first time', needs('unlimited'), async () => {
    const talk = await crew();
    const old = [];
    for (let n = 0; n < 3; n += 1) old.push({ content: `old ${n}`, type: 'text', clientId: clientId() });
    const firsts = [];
    for (const body of old) firsts.push((await post(ann, talk, body)).body);
    for (let part = 0; part < 10; part += 1) await Promise.all(Array.from({ length: 25 }, () => send(bob, talk.id, 'between', { clientId: clientId() })));
    for (const [n, body] of old.entries()) {
      const again = await post(ann, talk, body);
      assert.deepEqual([again.status, again.body], [200, firsts[n]]);
      isError(await post(ann, talk, { ...body, content: 'other words' }), 409, 'CONFLICT');
    }
    assert.equal((await send(ann, talk.id, 'newest')).seq, 254);
  });

  test('the key is the sender\'s own: another person may use it', async () => {
    const talk = await crew();
    const key = clientId();
    const [a, b] = [await send(ann, talk.id, 'same', { clientId: key }), await send(bob, talk.id, 'same', { clientId: key })];
    assert.notEqual(a.id, b.id);
    assert.equal((await wholeHistory(ann, talk.id)).length, 2);
  });

  test('the key is the same over sessions and routes', async () => {
    const talk = await crew();
    const body = { content: 'routes', type: 'text', clientId: clientId() };
    const first = await post(ann, talk, body);
    const device = await ann.login();
    assert.deepEqual((await post(device, talk, body)).body, first.body);
    const client = await ann.connect(straight);
    const ack = await client.ok('chat:message', { conversationId: talk.id, ...body });
    assert.equal(ack.message.id, first.body.message.id);
    assert.equal(ack.message.seq, first.body.message.seq);
    const socketFirst = { content: 'the other way', type: 'text', clientId: clientId() };
    const acked = await client.ok('chat:message', { conversationId: talk.id, ...socketFirst });
    const repeated = await post(ann, talk, socketFirst);
    assert.equal(repeated.status, 200);
    assert.equal(repeated.body.message.id, acked.message.id);
    assert.equal((await wholeHistory(ann, talk.id)).length, 2);
    client.close();
  });
});

describe('R-12 history', needs('objects'), () => {
  let talk;
  let rows;
  before(async () => {
    talk = await crew();
    rows = [];
    for (let n = 1; n <= 25; n += 1) rows.push(await send(n % 2 ? ann : bob, talk.id, `m${n}`));
  });

  const get = async (query, who = ann) => {
    const answer = await who.rest.get(`${path(talk)}${query}`);
    assert.equal(answer.status, 200, answer.text);
    return { seqs: answer.body.map(({ seq }) => seq), next: answer.headers.get('x-next-before'), rows: answer.body };
  };
  const span = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

  test('R-12 the whole history, oldest first, in full rows', async () => {
    const { seqs, next, rows: got } = await get('');
    assert.deepEqual(seqs, span(1, 25));
    assert.equal(next, null);
    got.forEach((row, n) => isMessage(row, { id: rows[n].id, content: rows[n].content }));
  });

  test('R-12 the newest page, and X-Next-Before leads to all older ones', async () => {
    assert.deepEqual((await get('?limit=10')).seqs, span(16, 25));
    const seen = [];
    for (let query = '?limit=7'; ;) {
      const { seqs, next } = await get(query);
      assert.ok(seqs.length <= 7 && seqs.length > 0);
      seen.unshift(...seqs);
      if (!next) break;
      query = `?limit=7&before=${encodeURIComponent(next)}`;
    }
    assert.deepEqual(seen, span(1, 25));
  });

  test('R-12 X-Next-Before is there exactly while older rows exist', async () => {
    assert.ok((await get('?limit=24')).next);
    assert.equal((await get('?limit=25')).next, null);
    assert.equal((await get('?limit=26')).next, null);
  });

  for (const [query, wanted] of [
    ['?limit=5&beforeSeq=10', [5, 9]], ['?beforeSeq=1', null], ['?limit=5&beforeSeq=99999', [21, 25]], ['?limit=5&afterSeq=10', [11, 15]], ['?afterSeq=0&limit=3', [1, 3]], ['?afterSeq=25', null], ['?afterSeq=99999', null], ['?limit=200', [1, 25]], ['?limit=1', [25, 25]],
    ['?limit=100000', [1, 25]],
  ]) {
    test(`R-12 ${query}`, async () => {
      assert.deepEqual((await get(query)).seqs, wanted ? span(...wanted) : []);
    });
  }

  test('R-12 before=<messageId> is the page below it', async () => {
    assert.deepEqual((await get(`?limit=4&before=${rows[9].id}`)).seqs, span(6, 9));
    assert.deepEqual((await get(`?before=${rows[0].id}`)).seqs, []);
  });

  test('C-22 before=<time> cuts by seq', async () => {
    assert.deepEqual((await get(`?before=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}&limit=2`)).seqs, [24, 25]);
    assert.deepEqual((await get('?before=2001-01-01T00:00:00.000Z')).seqs, []);
    const { seqs } = await get(`?before=${encodeURIComponent(rows[12].created_at)}`);
    assert.deepEqual(seqs, span(1, seqs.length));
    assert.ok(seqs.length <= 12);
  });

  test('R-12 around=<messageId> has it in the middle', async () => {
    const { seqs } = await get(`?limit=5&around=${rows[11].id}`);
    assert.equal(seqs.length, 5);
    assert.ok(seqs.includes(12) && seqs[0] < 12 && seqs[4] > 12, `${seqs}`);
    assert.ok((await get(`?limit=5&around=${rows[0].id}`)).seqs.includes(1));
    assert.ok((await get(`?limit=5&around=${rows[24].id}`)).seqs.includes(25));
  });

  test('A-15 around or before an id of another conversation gives nothing away', async () => {
    const other = await group(bob, [eve]);
    const foreign = await send(eve, other.id, 'elsewhere');
    for (const name of ['around', 'before']) {
      const a = await ann.rest.get(`${path(talk)}?${name}=${foreign.id}`);
      const b = await ann.rest.get(`${path(talk)}?${name}=${`${foreign.id.slice(0, -4)}0000`}`);
      assert.equal(a.status, b.status);
      assert.doesNotMatch(a.text, /elsewhere/);
      if (a.status >= 400) assert.equal(a.text, b.text);
    }
  });

  for (const query of ['?limit=0', '?limit=-5', '?limit=abc', '?limit=1.5', '?limit=', '?limit=1e2', '?limit=99999999999999999999', '?before=nonsense', '?before=', '?beforeSeq=abc', '?beforeSeq=-1', '?afterSeq=x', '?afterSeq=-1', '?around=nonsense', '?around=',
    "?before=1'%20OR%201=1", '?before=2026-13-45T99:00:00Z']) {
    test(`R-12 ${query} is 400`, async () => {
      const answer = await ann.rest.get(`${path(talk)}${query}`);
      if (query.includes('99999999999999999999') && answer.status === 200) return assert.equal(answer.body.length, 25);
      isError(answer, 400, 'INVALID_DATA');
    });
  }

  test('V-24 a page has at most 200 rows, 50 without limit', async () => {
    const long = await crew();
    for (let n = 0; n < 7; n += 1) await Promise.all(Array.from({ length: 30 }, (_, k) => send(ann, long.id, `m${n}.${k}`)));
    for (const [query, count] of [['', 50], ['?limit=200', 200], ['?limit=201', 200], ['?limit=5000', 200]]) {
      const answer = await ann.rest.get(`${path(long)}${query}`);
      assert.equal(answer.body.length, count);
      assert.equal(answer.body.at(-1).seq, 210);
      assert.ok(answer.headers.get('x-next-before'));
    }
    const all = await wholeHistory(bob, long.id);
    assert.deepEqual(all.map(({ seq }) => seq), span(1, 210));
  });

  test('R-12 read_by names the readers, never the author', async () => {
    const own = await crew();
    const message = await send(ann, own.id, 'read me');
    const client = await bob.connect(straight);
    await client.ok('chat:markRead', { conversationId: own.id, upTo: message.seq });
    const [row] = await wholeHistory(ann, own.id);
    assert.deepEqual(row.read_by, [bob.id]);
    client.close();
  });
});

describe('G-23 events', needs('objects'), () => {
  let talk;
  before(async () => {
    talk = await crew();
    for (let n = 1; n <= 12; n += 1) await send(ann, talk.id, `m${n}`);
  });
  const get = async (query) => {
    const answer = await bob.rest.get(`${path(talk, 'events')}${query}`);
    assert.equal(answer.status, 200, answer.text);
    return answer.body;
  };

  test('G-23 every event above the cursor under its ordinary name', async () => {
    const page = await get('?after=0');
    assert.deepEqual(Object.keys(page).sort(), ['events', 'headSeq', 'more']);
    assert.equal(page.headSeq, 12);
    assert.equal(page.more, false);
    page.events.forEach((event, n) => {
      assert.deepEqual(Object.keys(event).sort(), ['data', 'event', 'seq']);
      assert.equal(event.seq, n + 1);
      assert.equal(event.event, 'chat:message');
      isMessageEvent(event.data, { seq: n + 1, content: `m${n + 1}`, conversation_id: talk.id });
    });
    assert.equal(page.events.length, 12);
  });

  test('G-23 pages by limit', async () => {
    const seen = [];
    for (let at = 0; ;) {
      const page = await get(`?after=${at}&limit=5`);
      seen.push(...page.events.map(({ seq }) => seq));
      at = seen.at(-1);
      assert.equal(page.more, at < 12);
      if (!page.more) break;
    }
    assert.deepEqual(seen, Array.from({ length: 12 }, (_, n) => n + 1));
  });

  test('G-23 at and above the head there is nothing', async () => {
    assert.deepEqual((await get('?after=12')).events, []);
    const above = await bob.rest.get(`${path(talk, 'events')}?after=500`);
    if (above.status === 200) assert.deepEqual(above.body.events, []); else assert.equal(above.status, 400);
  });

  for (const query of ['?after=x', '?after=-1', '?after=0&limit=0', '?after=0&limit=abc', '?after=1.5']) {
    test(`G-23 ${query} is 400`, async () => {
      isError(await bob.rest.get(`${path(talk, 'events')}${query}`), 400, 'INVALID_DATA');
    });
  }
});

describe('7 delivered', needs('objects'), () => {
  test('being in a history answer counts as delivered; sending moves one\'s own marks', async () => {
    const [cat, dan] = await people(server, 'cat', 'dan');
    const talk = await direct(cat, dan);
    const sender = await cat.connect(straight);
    await sender.resume();
    const message = await send(cat, talk.id, 'x');
    await dan.rest.get(path(talk));
    const receipt = await sender.next('chat:receipts', (event) => event.userId === dan.id);
    assert.deepEqual(Object.keys(receipt).sort(), ['conversationId', 'deliveredSeq', 'readSeq', 'userId']);
    assert.equal(receipt.deliveredSeq, message.seq);
    sender.close();
  });
});
