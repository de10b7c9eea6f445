// Many people connect at the same time: each costs what those who may see them cost, and nobody else hears of it. P2, O1.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { atEnd } from '../support/cleanup.mjs';
import { group, person } from '../support/people.mjs';
import { startServer } from '../support/server.mjs';

const GROUPS = 100;
const MEMBERS = 10;

async function each(items, width, work) {
  const queue = items.entries();
  const results = [];
  await Promise.all(Array.from({ length: width }, async () => {
    for (const [n, item] of queue) results[n] = await work(item, n);
  }));
  return results;
}

/** An authenticated websocket that keeps what it hears of presence: `[event, payload]`. */
function listen(who) {
  const ws = new WebSocket(`${who.server.baseUrl.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
  atEnd(() => ws.terminate());
  const heard = { ws, who, events: [], list: null };
  return new Promise((done, fail) => {
    ws.on('error', fail);
    ws.on('close', (code) => fail(new Error(`closed with ${code}`)));
    ws.on('message', (data) => {
      const packet = String(data);
      if (packet === '2') ws.send('3');
      else if (packet[0] === '0') ws.send(`40${JSON.stringify({ token: who.token })}`);
      else if (packet.startsWith('40')) done(heard);
      else if (packet.startsWith('42["presence:onlineList"')) [, heard.list] = JSON.parse(packet.slice(2));
      else if (packet.startsWith('42["presence:')) heard.events.push(JSON.parse(packet.slice(2)));
    });
  });
}

async function until(what, holds, ms) {
  for (const end = Date.now() + ms; !holds(); await sleep(50)) assert.ok(Date.now() < end, what());
}

test('P2 a thousand people connect at once: each hears of those it may see, at most twice, and of nobody else', async (t) => {
  const server = await startServer();
  const people = await each(Array(GROUPS * MEMBERS).fill('p'), 16, (name) => person(server, name));
  const groups = Array.from({ length: GROUPS }, (_, n) => people.slice(n * MEMBERS, (n + 1) * MEMBERS));
  await each(groups, 8, ([owner, ...others]) => group(owner, others));
  const others = new Map(groups.flatMap((members) => members.map(({ id }) => [id, new Set(members.map((one) => one.id).filter((one) => one !== id))])));

  const begun = Date.now();
  const sockets = await each(people, people.length, listen);
  t.diagnostic(`${sockets.length} connected in ${Date.now() - begun} ms`);
  const onlineOf = ({ events }) => new Set(events.filter(([event]) => event === 'presence:online').map(([, { userId }]) => userId));
  const ask = () => sockets.forEach((socket) => { socket.list = null; socket.ws.send('42["presence:getOnline"]'); });
  ask();
  await until(() => 'not everybody was answered', () => sockets.every(({ list }) => list), 20_000);
  for (const { list, who } of sockets) assert.deepEqual(new Set(list), new Set([...others.get(who.id), ...(list.includes(who.id) ? [who.id] : [])]));
  await sleep(1_500);

  let events = 0;
  for (const socket of sockets) {
    const allowed = others.get(socket.who.id);
    for (const [event, { userId }] of socket.events) assert.ok(allowed.has(userId) || userId === socket.who.id, `${event} of a stranger`);
    for (const name of ['presence:online', 'presence:state']) {
      const count = socket.events.filter(([event]) => event === name).length;
      assert.ok(count <= 2 * MEMBERS, `${count} times ${name}`);
    }
    assert.ok(onlineOf(socket).size <= MEMBERS);
    events += socket.events.length;
  }
  t.diagnostic(`${events} presence events in all`);

  // Half of each group goes, at the same time: each of the others hears of each of them, once.
  const [gone, left] = [[], []];
  sockets.forEach((socket, n) => (n % MEMBERS < MEMBERS / 2 ? gone : left).push(socket));
  left.forEach((socket) => { socket.events.length = 0; });
  for (const { ws } of gone) {
    ws.removeAllListeners('close');
    ws.close();
  }
  const offline = ({ events: heard }) => heard.filter(([event]) => event === 'presence:offline').map(([, { userId }]) => userId);
  await until(() => `heard ${left.reduce((sum, socket) => sum + offline(socket).length, 0)}`, () => left.every((socket) => offline(socket).length >= MEMBERS / 2), 20_000);
  await sleep(1_500);
  const absent = new Set(gone.map(({ who }) => who.id));
  for (const socket of left) {
    const heard = offline(socket);
    assert.equal(heard.length, MEMBERS / 2);
    for (const id of heard) assert.ok(absent.has(id) && others.get(socket.who.id).has(id));
    assert.ok(socket.events.length <= MEMBERS, 'one of each kind for each of them');
  }
  assert.ok(server.alive());
});
