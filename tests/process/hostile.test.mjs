// What storage and the network may bring that nobody has asked for: rows of other versions, floods of strangers. N61, N68.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { clientId, group, listed, people, person, send, wholeHistory } from '../support/people.mjs';
import { poll, RawSocket } from '../support/raw.mjs';
import { freePort, startServer } from '../support/server.mjs';
import { straight } from '../support/sockets.mjs';
import { rewrite } from '../support/sqlite.mjs';

const NOBODY = '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d';

/** What a row of storage is sealed with. */
function digest({ conversation_id: room, seq, id, sender_id: sender, kind = 'text', content }) {
  const uuid = (text) => Buffer.from(text.replaceAll('-', ''), 'hex');
  const number = (n) => { const bytes = Buffer.alloc(8); bytes.writeBigUInt64LE(BigInt(n)); return bytes; };
  const hash = createHash('sha256');
  for (const part of [uuid(room), number(seq), uuid(id), uuid(sender), Buffer.from(kind), Buffer.from(content), Buffer.alloc(0), Buffer.alloc(0)]) hash.update(number(part.length)).update(part);
  return hash.digest().subarray(0, 16);
}

test('N61 history pages over rows of an unknown kind, of a deleted sender, with a crowd of reactions', async () => {
  const server = await startServer();
  const crowd = await people(server, ...Array.from({ length: 10 }, (_, n) => `p${n}`));
  const [ann, bob] = crowd;
  const talk = await group(ann, crowd.slice(1));
  const rows = [];
  for (let n = 0; n < 30; n += 1) rows.push(await send(ann, talk.id, `${clientId()} ${n}`));
  const [odd, orphan, loved, damaged] = [rows[4], rows[11], rows[18], rows[20]];
  const smiles = Array.from({ length: 20 }, (_, n) => String.fromCodePoint(0x1f600 + n));
  await Promise.all(crowd.map(async ({ rest }) => { for (const emoji of smiles) assert.equal((await rest.put(`/api/chats/messages/${loved.id}/reactions/${encodeURIComponent(emoji)}`)).status, 200); }));
  await listed(bob, talk.id, 230);
  await server.stop();

  const file = join(server.data, 'chatcall.db');
  const change = (row, from, to, changed) => {
    assert.ok(rewrite(file, from, to) > 0, `${from} was not found`);
    assert.ok(rewrite(file, digest(row), digest({ ...row, ...changed })) > 0, 'the digest was not found');
  };
  // Columns lie side by side: kind and content, id and sender.
  change(odd, `text${odd.content}`, `poll${odd.content}`, { kind: 'poll' });
  change(orphan, `${orphan.id}${ann.id}`, `${orphan.id}${NOBODY}`, { sender_id: NOBODY });
  await server.start();
  crowd.forEach(({ rest }) => { rest.baseUrl = server.baseUrl; });

  for (const limit of [1, 7, 200]) {
    const seen = [];
    for (let before = ''; ;) {
      const answer = await bob.rest.get(`/api/chats/conversations/${talk.id}/messages?limit=${limit}${before}`);
      assert.equal(answer.status, 200, answer.text);
      seen.unshift(...answer.body);
      const next = answer.headers.get('x-next-before');
      if (!next) break;
      before = `&before=${next}`;
    }
    assert.deepEqual(seen.map(({ id, content }) => [id, content]), rows.map(({ id, content }) => [id, content]));
    const by = Object.fromEntries(seen.map((row) => [row.id, row]));
    assert.equal(by[odd.id].type, 'text');
    assert.deepEqual([by[orphan.id].sender_id, by[orphan.id].sender_username], [NOBODY, '']);
    assert.deepEqual(by[loved.id].reactions.map(({ count, me }) => [count, me]), smiles.map(() => [10, true]));
  }
  const events = [];
  for (let more = true; more;) {
    const page = (await bob.rest.get(`/api/chats/conversations/${talk.id}/events?after=${events.at(-1)?.seq ?? 0}&limit=50`)).body;
    events.push(...page.events);
    ({ more } = page);
  }
  assert.deepEqual(events.map(({ seq }) => seq), Array.from({ length: 230 }, (_, n) => n + 1));
  const client = await bob.connect({ ...straight });
  await client.resume({ [talk.id]: 0 });
  assert.deepEqual(client.seqs(talk.id), rows.map(({ seq }) => seq));
  const again = await send(ann, talk.id, 'it goes on');
  assert.equal(again.seq, 231);
  client.close();
  await server.stop();

  // What was changed behind its digest is never served.
  assert.ok(rewrite(file, `text${damaged.content}`, `quiz${damaged.content}`) > 0);
  await server.start();
  crowd.forEach(({ rest }) => { rest.baseUrl = server.baseUrl; });
  assert.equal((await bob.rest.get(`/api/chats/conversations/${talk.id}/messages`)).status, 500);
  await server.stop();
});

test('N68 a flood of anonymous upgrades touches nothing but the gateways', async () => {
  const port = await freePort();
  const server = await startServer({ privatePort: port, env: { GATEWAYS: '2' } });
  const objects = async () => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return Object.fromEntries([...text.matchAll(/^chatcall_objects\{kind="(\w+)"\} (\d+)$/gm)].map(([, kind, n]) => [kind, Number(n)]));
  };
  const said = [
    '40', '40{"token":"nonsense"}', `40{"token":"${'x.'.repeat(900)}"}`, `42["chat:join","${NOBODY}"]`, '40{"dialect":"chatcall"}', `40{"pid":"0.${'A'.repeat(22)}.${NOBODY}","offset":"x"}`, 'nonsense', '',
  ];
  const sockets = Array.from({ length: 400 }, () => new RawSocket(server.baseUrl));
  await Promise.all(sockets.map((socket) => Promise.race([socket.open, socket.closed])));
  sockets.forEach((socket, n) => {
    if (socket.ws.readyState !== 1) return;
    socket.send(said[n % said.length]);
    if (n % 3 === 0) socket.send(`42${n}["sync:resume",{"cursors":{"${NOBODY}":0}}]`, `42["chat:message",{"conversationId":"${NOBODY}","content":"x"}]`);
  });
  for (let n = 0; n < 60; n += 1) await poll(server.baseUrl, '/socket.io/', { query: n % 2 ? { sid: `${n}.${'A'.repeat(22)}` } : {} });
  await Promise.all(Array.from({ length: 40 }, (_, n) => fetch(`${server.baseUrl}/api/chats/conversations/${NOBODY.slice(0, -2)}${n + 10}`)));
  const during = await objects();
  assert.ok(during.gateway >= 1 && during.gateway <= 2, JSON.stringify(during));
  assert.deepEqual({ ...during, gateway: 0 }, { gateway: 0, room: 0, user: 0, call: 0 });
  sockets.forEach((socket) => socket.close());

  // With a token there is more.
  const ann = await person(server, 'ann');
  const client = await ann.connect(straight);
  assert.ok((await objects()).user >= 1);
  client.close();
  assert.deepEqual(await wholeHistory(ann, (await group(ann, await people(server, 'bob'))).id), []);
  await server.stop();
});
