// Objects are dropped from memory between two events, by the runtime when they are idle and by the host when told to;
// or all at once, by kill -9. Nobody notices. M1-M8, P1. SLEEP_SEED sets the mix, CRASH_CYCLES how often (8).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from '../support/hosts/workerd.mjs';
import { Meter } from '../support/meter.mjs';
import { clientId, direct, group, people, person, send } from '../support/people.mjs';
import { freshSecret } from '../support/server.mjs';
import { random, Traffic } from '../support/traffic.mjs';

const SEED = Number(process.env.SLEEP_SEED ?? 20_260_401);
const CYCLES = Number(process.env.CRASH_CYCLES ?? 8);
/** The runtime lets 10 s pass; a sweep comes every 20. */
const ASLEEP_MS = 12_500;

const secrets = () => ({ JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() });
const text = (conversationId, content, more = {}) => ({ conversationId, content, type: 'text', ...more });
const about = (who) => ({ userId }) => userId === who.id;

/** Waits until no gateway had an event for long enough. */
async function fallAsleep(server) {
  const meter = new Meter(server);
  let [events, since] = [0, Date.now()];
  for (const end = Date.now() + 90_000; Date.now() - since < ASLEEP_MS; await sleep(100)) {
    const now = meter.events().filter(({ kind }) => kind === 'gateway').length;
    if (now > events) [events, since] = [now, Date.now()];
    assert.ok(Date.now() < end, `gateways are never left alone: ${meter}`);
  }
}

const online = async (client) => {
  const mark = client.mark;
  client.emit('presence:getOnline');
  return client.next('presence:onlineList', () => true, { from: mark });
};

/** Waits until `who` sees exactly these of `all` online. */
async function sees(client, wanted, all, ms) {
  const ids = (list) => list.map(({ id }) => id).sort();
  for (const end = Date.now() + ms; ; await sleep(250)) {
    const seen = (await online(client)).filter((id) => all.some((one) => one.id === id)).sort();
    if (JSON.stringify(seen) === JSON.stringify(ids(wanted))) return;
    if (Date.now() > end) assert.deepEqual(seen, ids(wanted), 'who is seen online');
  }
}

describe('sleep', { concurrency: true }, () => {
  test('gateways that hibernated go on as if nothing was: messages, acks, typing, receipts, presence, cursors', { timeout: 240_000 }, async (t) => {
    const server = await start({ env: { ...secrets(), GATEWAYS: '2' }, bindings: { METER: 'on', SLEEP: undefined } });
    const [ann, bob, cat] = await people(server, 'ann', 'bob', 'cat');
    const [pair, crew] = [await direct(ann, bob), await group(ann, [bob, cat])];
    const websocket = { transports: ['websocket'] };
    const [a, b, c] = await Promise.all([ann, bob, cat].map((one) => one.connect(websocket)));
    const clients = [a, b, c];
    // One with cursors and an open conversation, one that only opened one, one that only listens.
    await a.resume({ [pair.id]: 0, [crew.id]: 0 });
    await a.ok('chat:join', pair.id);
    await b.ok('chat:join', crew.id);
    let sent = 0;
    const talk = async () => {
      sent += 1;
      const acks = await Promise.all([
        a.ok('chat:message', text(pair.id, `pair ${sent}`)), b.ok('chat:message', text(pair.id, `pair back ${sent}`)),
        c.ok('chat:message', text(crew.id, `crew ${sent}`)), b.ok('chat:message', text(crew.id, `crew back ${sent}`)),
      ]);
      await Promise.all(clients.map((client) => client.count('chat:message', sent * 2, ({ conversationId }) => conversationId === crew.id)));
      await Promise.all([a, b].map((client) => client.count('chat:message', sent * 2, ({ conversationId }) => conversationId === pair.id)));
      return acks.map(({ message }) => message);
    };
    const asleep = async () => {
      await fallAsleep(server);
      return new Meter(server);
    };
    await talk();

    // 1: frames wake them.
    let meter = await asleep();
    await talk();
    assert.ok(meter.sum('life', 'gateway') >= 1, `no gateway slept: ${meter}`);
    const slept = [String(meter)];

    // 2: a delivery wakes the one of the other, and typing and receipts pass.
    meter = await asleep();
    const mark = a.mark;
    b.emit('chat:typing', { conversationId: pair.id });
    assert.equal((await a.next('chat:typing', () => true, { from: mark })).userId, bob.id);
    const message = await send(bob, pair.id, 'by REST');
    await a.next('chat:message', ({ id }) => id === message.id);
    a.emit('chat:delivered', { conversationId: pair.id, upTo: message.seq });
    await b.next('chat:receipts', (event) => event.userId === ann.id && event.deliveredSeq >= message.seq, { ms: 6_000 });
    await a.ok('chat:markRead', { conversationId: pair.id, upTo: message.seq });
    await b.next('chat:read', (event) => event.userId === ann.id && event.upTo === message.seq);
    assert.ok(meter.sum('life', 'gateway') >= 1, `no gateway slept: ${meter}`);
    slept.push(String(meter));

    // 3: presence: who was there is there, who leaves is gone, who comes is seen.
    meter = await asleep();
    await sees(a, [bob, cat], [bob, cat], 2_000);
    const presence = a.mark;
    c.close();
    await a.next('presence:offline', about(cat), { ms: 6_000, from: presence });
    await sees(b, [ann], [ann, cat], 3_000);
    const c2 = await cat.connect(websocket);
    await a.next('presence:online', about(cat), { ms: 6_000, from: presence });
    assert.ok(meter.sum('life', 'gateway') >= 1, `no gateway slept: ${meter}`);

    // 4: cursors: a resume by a socket that slept, and one by a socket that comes to a gateway that sleeps.
    meter = await asleep();
    const before = b.seqs(crew.id);
    const missed = await send(ann, crew.id, 'while you slept');
    await Promise.all([b, c2].map((client) => client.next('chat:message', ({ id }) => id === missed.id)));
    await b.resume({ [crew.id]: missed.seq - 2 });
    await b.count('chat:message', before.length + 3, ({ conversationId }) => conversationId === crew.id);
    assert.deepEqual(b.seqs(crew.id).slice(before.length), [missed.seq, missed.seq - 1, missed.seq]);
    const second = await bob.connect(websocket);
    await second.resume({ [crew.id]: 0, [pair.id]: 0 });
    assert.deepEqual(second.seqs(crew.id), Array.from({ length: missed.seq }, (_, n) => n + 1));
    assert.ok(meter.sum('life', 'gateway') >= 1, `no gateway slept: ${meter}`);

    // Nobody's connection was lost, nothing came twice.
    assert.deepEqual(a.seqs(crew.id), Array.from({ length: missed.seq }, (_, n) => n + 1));
    assert.deepEqual(a.seqs(pair.id), Array.from({ length: message.seq }, (_, n) => n + 1));
    for (const client of [a, b, c2]) assert.deepEqual([client.connects, client.all('$disconnect')], [1, []]);
    t.diagnostic(slept.join(' '));
    [ann, bob, cat].forEach((one) => one.close());
    await server.stop();
  });

  test('M1-M8 every object is dropped after every event: nothing is lost, doubled or out of order', { timeout: 180_000 }, async (t) => {
    const server = await start({ env: { ...secrets(), GATEWAYS: '3' }, bindings: { METER: 'on', SLEEP: 'on' } });
    const meter = new Meter(server);
    const traffic = await Traffic.start(server);
    const next = random(SEED);
    const any = (list) => list[Math.floor(next() * list.length)];
    traffic.go({ pause: 120, flying: 4 });
    const begun = Date.now();
    const done = {};
    const steps = {
      /** What was acknowledged is answered the same again. */
      async repeat() {
        const one = any(traffic.devices.filter((device) => device.ready && device.acked.length));
        if (!one) return;
        const { conversationId, message } = any(one.acked);
        const again = { content: message.content, type: 'text', clientId: message.client_id };
        const answer = await one.person.rest.post(`/api/chats/conversations/${conversationId}/messages`, again);
        assert.deepEqual([answer.status, answer.body.message.id, answer.body.message.seq], [200, message.id, message.seq], answer.text);
        const other = await one.person.rest.post(`/api/chats/conversations/${conversationId}/messages`, { ...again, content: 'another' });
        assert.equal(other.body.code, 'CONFLICT', other.text);
      },
      async cut() {
        const one = any(traffic.devices);
        const { engine } = one.socket.io;
        if (engine?.transport?.ws?._socket && next() < 0.5) engine.transport.ws._socket.destroy();
        else engine?.close();
        one.socket.connect();
      },
      async read() {
        const one = any(traffic.devices);
        await one.read(any(one.conversations));
      },
      async look() {
        const one = any(traffic.devices.filter((device) => device.ready));
        if (!one) return;
        const id = any(one.conversations);
        one.socket.emit('chat:join', id);
        one.socket.emit('chat:typing', { conversationId: id });
        one.socket.emit('chat:leave', id);
        one.socket.emit('presence:getOnline');
      },
      /** Contacts come and go beside it; a block works at once. */
      async strangers() {
        const eve = await person(server, 'eve');
        assert.equal((await eve.rest.post(`/api/users/contacts/${traffic.ann.id}`)).status, 201);
        const accepted = next() < 0.5;
        if (accepted) assert.equal((await traffic.ann.rest.patch(`/api/users/contacts/${eve.id}`, { status: 'accepted' })).status, 200);
        const talk = await direct(eve, traffic.ann);
        const e = await eve.connect({ transports: [next() < 0.7 ? 'websocket' : 'polling'] });
        const key = clientId();
        const { message } = await e.ok('chat:message', text(talk.id, 'hello', { clientId: key }));
        await e.next('chat:message', ({ id }) => id === message.id);
        assert.equal((await e.ok('chat:message', text(talk.id, 'hello', { clientId: key }))).message.id, message.id);
        assert.equal((await traffic.ann.rest.patch(`/api/users/contacts/${eve.id}`, { status: 'blocked' })).status, 200);
        await sleep(1_000);
        await e.refused('USER_UNAVAILABLE', 'chat:message', text(talk.id, 'after'));
        assert.deepEqual(e.seqs(talk.id), [1]);
        e.close();
      },
    };
    const weights = ['repeat', 'repeat', 'cut', 'cut', 'read', 'read', 'look', 'look', 'strangers'];
    const beside = [];
    while (Date.now() - begun < 40_000) {
      const name = any(weights);
      done[name] = (done[name] ?? 0) + 1;
      const step = steps[name]();
      if (name === 'strangers') beside.push(step);
      else await step;
      await sleep(next() * 150);
    }
    await Promise.all(beside);
    await traffic.stop();
    await traffic.check(t, 'sleep');
    t.diagnostic(`seed ${SEED}, ${JSON.stringify(done)}, ${meter.sum('life')} lives: ${meter}`);
    // Polling keeps its gateway awake.
    assert.ok(meter.sum('life', 'gateway') > 100 && meter.sum('life', 'room') > 500, 'objects slept all the time');
    await server.stop();
  });

  test(`M1-M6 P1 ${CYCLES} kills of the runtime under traffic: losses 0, duplicates 0, and nobody is online for ever`, { timeout: 240_000 + CYCLES * 15_000 }, async (t) => {
    const server = await start({ env: { ...secrets(), GATEWAYS: '3' } });
    const traffic = await Traffic.start(server);
    const gone = await traffic.dan.connect({ transports: ['websocket'] });
    const friend = await person(server, 'friend');
    await group(friend, [traffic.ann, traffic.cat, traffic.dan]);
    const lost = traffic.devices.filter((one) => one.person === traffic.dan);
    traffic.go();
    const restarts = await traffic.crashes(CYCLES, { after: () => assert.ok(!gone.socket.connected) });
    await traffic.stop(60_000);
    await traffic.check(t, 'runtime-crash');
    t.diagnostic(`restarts ${Math.min(...restarts)}-${Math.max(...restarts)} ms`);

    // Everybody comes back, and one of them goes in the crash.
    const clients = await Promise.all([traffic.ann, traffic.cat, traffic.dan].map((one) => one.connect({ transports: ['websocket'], reconnection: true, reconnectionDelay: 50 })));
    const watcher = await friend.connect({ transports: ['websocket'], reconnection: true, reconnectionDelay: 50 });
    const all = [traffic.ann, traffic.cat, traffic.dan];
    await sees(watcher, all, all, 15_000);
    await server.kill();
    clients[2].close();
    await server.start();
    await Promise.all([watcher, clients[0], clients[1]].map((client) => client.count('$connect', 2)));
    const begun = Date.now();
    await sees(watcher, all.slice(0, 2), all, 75_000);
    t.diagnostic(`who went in a crash was offline after ${Date.now() - begun} ms`);
    await sleep(3_000);
    await sees(watcher, all.slice(0, 2), all, 1_000);
    assert.equal(lost.length, 1);
    [...all, friend].forEach((one) => one.close());
    await server.stop();
  });
});
