// Two people with stock clients on a running server: chat, typing, receipts, presence, lost connections, restarts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../support/device.mjs';
import { checkTruth, History, judge, row } from '../support/history.mjs';
import { direct, group, people, wholeHistory } from '../support/people.mjs';
import { startServer } from '../support/server.mjs';
import { TRANSPORTS } from '../support/sockets.mjs';

let server;
before(async () => { server = await startServer(); });
after(() => server?.stop());

const text = (conversationId, content) => ({ conversationId, content, type: 'text' });
const back = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

for (const [annName, annTransports] of Object.entries(TRANSPORTS)) {
  for (const [bobName, bobTransports] of Object.entries(TRANSPORTS)) {
    test(`a conversation: ann ${annName}, bob ${bobName}`, async () => {
      const [ann, bob] = await people(server, 'ann', 'bob');
      const talk = await direct(ann, bob);
      const a = await ann.connect({ ...annTransports, ...back });
      await a.resume();
      const b = await bob.connect({ ...bobTransports, ...back });
      await a.next('presence:online', ({ userId }) => userId === bob.id);
      await b.resume();
      for (const client of [a, b]) await client.ok('chat:join', talk.id);

      b.emit('chat:typing', { conversationId: talk.id });
      assert.equal((await a.next('chat:typing')).userId, bob.id);
      const { message } = await b.ok('chat:message', text(talk.id, 'hello ann'));
      assert.equal((await a.next('chat:message')).id, message.id);
      a.emit('chat:delivered', { conversationId: talk.id, upTo: message.seq });
      await a.ok('chat:markRead', { conversationId: talk.id, upTo: message.seq });
      assert.equal((await b.next('chat:read')).userId, ann.id);
      await b.next('chat:receipts', (event) => event.userId === ann.id && event.deliveredSeq >= message.seq, { ms: 6_000 });

      b.cut();
      await a.ok('chat:message', text(talk.id, 'while you were away'));
      await b.count('$connect', 2);
      await b.resume({ [talk.id]: message.seq });
      assert.deepEqual([...new Set(b.seqs(talk.id))], [1, 2]);
      await a.ok('chat:message', text(talk.id, 'and back'));
      await b.next('chat:message', ({ content }) => content === 'and back');
      await a.none('presence:offline', () => true, { ms: 100 });
      b.close();
      await a.next('presence:offline', ({ userId }) => userId === bob.id, { ms: 4_000 });
      ann.close();
    });
  }
}

describe('lost connections', () => {
  test('M5 F28 connections cut at random moments, also in the middle of upgrades: every device has everything once', { timeout: 240_000 }, async (t) => {
    const history = new History();
    const [ann, bob, cat] = await people(server, 'ann', 'bob', 'cat');
    const [pair, crew] = [(await direct(ann, bob)).id, (await group(ann, [bob, cat])).id];
    const device = (who, name, conversations, transports) => new Device(who, { name, conversations, history, transports }).start();
    const devices = [device(ann, 'ann', [pair, crew]), device(bob, 'bob', [pair, crew]), device(bob, 'bob-ws', [pair, crew], ['websocket']), device(cat, 'cat', [crew]), device(cat, 'cat-polling', [crew], ['polling'])];
    let on = true;
    const traffic = devices.map(async (one) => {
      for (let k = 0; on; k += 1) {
        await Promise.race([one.send(one.conversations[k % one.conversations.length]), sleep(100)]);
        if (k % 11 === 5) one.read(crew);
      }
    });
    for (let n = 0; n < 60; n += 1) {
      await sleep((n * 53) % 120);
      const { engine } = devices[n % devices.length].socket.io;
      if (engine?.transport?.ws?._socket && n % 2) engine.transport.ws._socket.destroy();
      else engine?.close();
      devices[n % devices.length].socket.connect();
    }
    on = false;
    await Promise.all(traffic);
    await Promise.all(devices.map((one) => one.settled()));
    const heads = new Map();
    for (const id of [pair, crew]) heads.set(id, (await wholeHistory(bob, id)).length);
    await Promise.all(devices.map((one) => one.caughtUp(heads)));
    history.write('quiesced');
    const final = new Map();
    for (const id of [pair, crew]) final.set(id, await wholeHistory(bob, id));
    for (const [conversation, rows] of final) history.write('final', { conversation, rows: rows.map(row) });
    devices.forEach((one) => one.close());
    history.keep('cuts');
    assert.deepEqual(devices.flatMap((one) => one.faults), []);
    checkTruth(final, devices.flatMap((one) => one.acked), devices);
    t.diagnostic(`${devices.flatMap((one) => one.acked).length} acknowledged sends, ${devices.reduce((sum, one) => sum + one.connections, 0)} connections`);
    const verdict = await judge(history);
    if (verdict) assert.ok(verdict.ok, verdict.text);
  });

  test('after a restart of the server stock clients are back by themselves and talk on', async () => {
    const own = await startServer();
    const [ann, bob] = await people(own, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const a = await ann.connect(back);
    const b = await bob.connect({ transports: ['websocket'], ...back });
    await a.ok('chat:message', text(talk.id, 'one'));
    await own.stop();
    await own.start();
    await Promise.all([a, b].map((client) => client.count('$connect', 2)));
    await b.resume({ [talk.id]: 1 });
    await a.ok('chat:message', text(talk.id, 'two'));
    await b.next('chat:message', ({ content }) => content === 'two');
    [ann, bob].forEach((who) => who.close());
    await own.stop();
  });
});
