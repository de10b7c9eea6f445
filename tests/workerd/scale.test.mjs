// Many sockets on one gateway, and many members over many gateways: a message reaches each of them once. Guarantees 3.2.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { atEnd } from '../support/cleanup.mjs';
import { start } from '../support/hosts/workerd.mjs';
import { group, people, person } from '../support/people.mjs';
import { freshSecret } from '../support/server.mjs';

const worker = (gateways) => start({ env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret(), GATEWAYS: String(gateways) }, bindings: { SLEEP: undefined } });
const megabytes = ({ edge }) => Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${edge.workerd.pid}/status`, 'utf8'))[1]) / 1024);
const seconds = (begun) => `${((Date.now() - begun) / 1_000).toFixed(1)} s`;

/** Runs `work` on each, `width` at once. */
async function each(items, width, work) {
  const results = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < items.length) {
      const n = next;
      next += 1;
      results[n] = await work(items[n], n);
    }
  }));
  return results;
}

/** An authenticated websocket that counts messages and does nothing else. */
function light(who) {
  const ws = new WebSocket(`${who.server.baseUrl.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false, skipUTF8Validation: true });
  const seen = { ws, who, seqs: [], code: undefined };
  const ready = new Promise((done, fail) => {
    ws.on('error', fail);
    ws.on('close', (code) => { seen.code = code; fail(new Error(`closed with ${code}`)); });
    ws.on('message', (data) => {
      const packet = data.toString('latin1', 0, 24);
      if (packet === '2') ws.send('3');
      else if (packet[0] === '0') ws.send(`40${JSON.stringify({ token: who.token })}`);
      else if (packet.startsWith('40')) done(seen);
      else if (packet.startsWith('42["chat:message"')) seen.seqs.push(Number(/"seq":(\d+)/.exec(String(data))[1]));
    });
  });
  return ready;
}

const all = [];
atEnd(() => all.forEach(({ ws }) => ws.terminate()));

/** Connects everybody; a gateway takes 200 connects/s. */
async function connect(list, width) {
  const sockets = await each(list, width, light);
  all.push(...sockets);
  return sockets;
}

/** Sends some messages and waits until every socket has each of them. */
async function talk(t, from, conversationId, sockets, count) {
  const times = [];
  for (let n = 1; n <= count; n += 1) {
    const begun = Date.now();
    const answer = await from.rest.post(`/api/chats/conversations/${conversationId}/messages`, { content: `message ${n}`, type: 'text' });
    assert.equal(answer.status, 201, answer.text);
    const missing = () => sockets.filter(({ seqs }) => seqs.at(-1) !== n).length;
    for (const end = Date.now() + 20_000; missing(); await sleep(10)) assert.ok(Date.now() < end, `${missing()} of ${sockets.length} sockets do not have message ${n}`);
    times.push(Date.now() - begun);
  }
  await sleep(1_000);
  for (const { seqs, code } of sockets) {
    assert.equal(code, undefined);
    assert.deepEqual(seqs, Array.from({ length: count }, (_, n) => n + 1), 'each once and in order');
  }
  t.diagnostic(`a message at all ${sockets.length} sockets after ${times.join(', ')} ms`);
}

test('2,000 sockets on one gateway: each message reaches each of them once', { timeout: 180_000 }, async (t) => {
  const server = await worker(1);
  const four = await people(server, 'ann', 'bob', 'cat', 'dan');
  const crew = await group(four[0], four.slice(1));
  const empty = megabytes(server);
  const begun = Date.now();
  const sockets = await connect(Array.from({ length: 2_000 }, (_, n) => four[n % 4]), 32);
  t.diagnostic(`2,000 sockets after ${seconds(begun)}; workerd has ${megabytes(server)} MB, ${empty} MB before`);
  await talk(t, four[0], crew.id, sockets, 5);
  t.diagnostic(`workerd has ${megabytes(server)} MB`);
  sockets.forEach(({ ws }) => ws.terminate());
  await server.stop();
});

test('a conversation of 1,000 members over 8 gateways: each message reaches each member once', { timeout: 240_000 }, async (t) => {
  const server = await worker(8);
  let begun = Date.now();
  const members = await each(Array.from({ length: 1_000 }), 16, () => person(server, 'm'));
  t.diagnostic(`1,000 accounts after ${seconds(begun)}`);
  begun = Date.now();
  const hall = await group(members[0], members.slice(1), 'Hall');
  t.diagnostic(`the conversation after ${seconds(begun)}`);
  begun = Date.now();
  const sockets = await connect(members, 32);
  t.diagnostic(`1,000 sockets after ${seconds(begun)}; workerd has ${megabytes(server)} MB`);
  await talk(t, members[0], hall.id, sockets, 5);
  t.diagnostic(`workerd has ${megabytes(server)} MB`);
  sockets.forEach(({ ws }) => ws.terminate());
  await server.stop();
});
