// Presence: who sees whom come and go, and how, with several devices. E-010..E-013, E-053, E-054, C-19, P1, P2.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, group, people } from '../support/people.mjs';
import { straight, TRANSPORTS } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const befriend = async (a, b) => {
  await a.rest.post(`/api/users/contacts/${b.id}`);
  assert.equal((await b.rest.patch(`/api/users/contacts/${a.id}`, { status: 'accepted' })).status, 200);
};
const online = async (client) => {
  const mark = client.mark;
  client.emit('presence:getOnline');
  const list = await client.next('presence:onlineList', () => true, { from: mark });
  assert.ok(Array.isArray(list) && list.every((id) => typeof id === 'string'));
  return list;
};
const about = (who) => ({ userId }) => userId === who.id;

describe('presence', { ...needs('objects'), concurrency: 6 }, () => {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    describe(name, { ...needs(name === 'websocket only' ? 'websocket' : 'polling'), concurrency: 6 }, () => {
      test('E-012 E-013 P1 a contact comes, and is gone within 2 s of a clean close', async () => {
        const [ann, bob] = await people(server, 'ann', 'bob');
        await befriend(ann, bob);
        const a = await ann.connect(transports);
        const b = await bob.connect(transports);
        assert.deepEqual(await a.next('presence:online', about(bob)), { userId: bob.id });
        await sleep(300);
        const start = Date.now();
        b.close();
        assert.deepEqual(await a.next('presence:offline', about(bob), { ms: 4_000 }), { userId: bob.id });
        assert.ok(Date.now() - start < 3_000, `${Date.now() - start} ms`);
        ann.close();
      });

      test('E-010 E-011 getOnline answers the list, and the ack if asked', async () => {
        const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
        await befriend(ann, bob);
        const b = await bob.connect(transports);
        const e = await eve.connect(transports);
        const a = await ann.connect(transports);
        const ack = await a.call('presence:getOnline');
        const list = await a.next('presence:onlineList');
        assert.ok(list.includes(bob.id));
        assert.ok(!list.includes(eve.id));
        const acked = Array.isArray(ack) ? ack : ack.users ?? ack.online ?? ack.userIds ?? ack;
        assert.ok(JSON.stringify(acked).includes(bob.id), JSON.stringify(ack));
        [a, b, e].forEach((client) => client.close());
      });
    });
  }

  test('C-19 P2 members of a shared conversation see each other, strangers see nobody', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    const e = await eve.connect();
    const a = await ann.connect();
    await group(ann, [bob]);
    const b = await bob.connect();
    await a.next('presence:online', about(bob));
    assert.ok((await online(b)).includes(ann.id));
    assert.deepEqual((await online(e)).filter((id) => [ann.id, bob.id].includes(id)), []);
    b.close();
    await a.next('presence:offline', about(bob), { ms: 4_000 });
    await sleep(300);
    assert.deepEqual(e.events.filter(({ name }) => /^presence:o(n|ff)line$/.test(name)), []);
    [a, e].forEach((client) => client.close());
  });

  test('C-19 a conversation made while both are connected makes them see each other', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const [a, b] = [await ann.connect(), await bob.connect()];
    assert.ok(!(await online(a)).includes(bob.id));
    await direct(ann, bob);
    for (const end = Date.now() + 5_000; !(await online(a)).includes(bob.id); await sleep(100)) assert.ok(Date.now() < end, 'never seen');
    b.close();
    await a.next('presence:offline', about(bob), { ms: 4_000 });
    a.close();
  });

  test('C-17 with several devices: online once, offline after the last', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await direct(ann, bob);
    const a = await ann.connect();
    const devices = [await bob.connect(), await bob.connect(straight), await bob.connect({ transports: ['polling'] })];
    await a.next('presence:online', about(bob));
    devices[0].close();
    devices[1].close();
    await a.none('presence:offline', about(bob), { ms: 2_500 });
    devices[2].close();
    await a.next('presence:offline', about(bob), { ms: 4_000 });
    assert.equal(a.all('presence:online', about(bob)).length, 1);
    a.close();
  });

  test('P1 a lost connection that is back within 10 s causes no flap', needs('websocket'), async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await direct(ann, bob);
    const a = await ann.connect();
    const b = await bob.connect({ ...straight, reconnection: true, reconnectionDelay: 1_500, reconnectionDelayMax: 1_500 });
    await a.next('presence:online', about(bob));
    b.cut();
    await b.count('$connect', 2);
    await a.none('presence:offline', about(bob), { ms: 3_000 });
    assert.equal(a.all('presence:online', about(bob)).length, 1);
    assert.ok((await online(a)).includes(bob.id));
    [a, b].forEach((client) => client.close());
  });

  test('P1 a lost connection that stays away is offline after 10 s', needs('websocket'), async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await direct(ann, bob);
    const a = await ann.connect();
    const b = await bob.connect(straight);
    await a.next('presence:online', about(bob));
    const start = Date.now();
    b.cut();
    await a.next('presence:offline', about(bob), { ms: 15_000 });
    assert.ok(Date.now() - start > 7_000 && Date.now() - start < 13_000, `${Date.now() - start} ms`);
    a.close();
  });

  test('P2 a block takes effect within 1 s: the blocked person sees one no more', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await befriend(ann, bob);
    await direct(ann, bob);
    const [a, b] = [await ann.connect(), await bob.connect()];
    for (const end = Date.now() + 3_000; !(await online(b)).includes(ann.id); await sleep(50)) assert.ok(Date.now() < end);
    await ann.rest.patch(`/api/users/contacts/${bob.id}`, { status: 'blocked' });
    const start = Date.now();
    for (; (await online(b)).includes(ann.id); await sleep(50)) assert.ok(Date.now() - start < 1_500, 'still seen');
    const mark = b.mark;
    a.close();
    await sleep(2_500);
    const again = await ann.connect();
    await sleep(500);
    assert.deepEqual(b.events.slice(mark).filter(({ name, payload }) => /^presence:o(n|ff)line$/.test(name) && payload.userId === ann.id), []);
    [again, b].forEach((client) => client.close());
  });

  test('a pending request shows nothing; accepting it does', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const [a, b] = [await ann.connect(), await bob.connect()];
    await ann.rest.post(`/api/users/contacts/${bob.id}`);
    await sleep(300);
    assert.ok(!(await online(a)).includes(bob.id));
    await bob.rest.patch(`/api/users/contacts/${ann.id}`, { status: 'accepted' });
    for (const end = Date.now() + 5_000; !(await online(a)).includes(bob.id); await sleep(100)) assert.ok(Date.now() < end, 'never seen');
    for (const end = Date.now() + 5_000; !(await online(b)).includes(ann.id); await sleep(100)) assert.ok(Date.now() < end, 'never seen');
    [a, b].forEach((client) => client.close());
  });

  test('100 watchers of one person each hear it once', async () => {
    const [ann] = await people(server, 'ann');
    const others = await people(server, ...Array(20).fill('w'));
    await group(ann, others);
    const clients = (await Promise.all(others.map(async (who) => Promise.all(Array.from({ length: 5 }, () => who.connect(straight)))))).flat();
    const a = await ann.connect(straight);
    await Promise.all(clients.map((client) => client.next('presence:online', about(ann))));
    a.close();
    await Promise.all(clients.map((client) => client.next('presence:offline', about(ann), { ms: 6_000 })));
    await sleep(300);
    for (const client of clients) {
      assert.equal(client.all('presence:online', about(ann)).length, 1);
      assert.equal(client.all('presence:offline', about(ann)).length, 1);
      client.close();
    }
  });
});

describe('presence states', { ...needs('objects'), concurrency: 6 }, () => {
  const state = (who, wanted) => ({ userId, state }) => userId === who.id && state === wanted;

  test('E-053 E-054 a state and its text reach permitted watchers, and nobody else', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    await befriend(ann, bob);
    const [a, e, b] = [await ann.connect(), await eve.connect(), await bob.connect()];
    assert.deepEqual(await a.next('presence:state', about(bob)), { userId: bob.id, state: 'online', lastSeen: null, text: null });
    assert.deepEqual(await b.call('presence:set', { state: 'away', text: 'at lunch' }), { ok: true });
    assert.deepEqual(await a.next('presence:state', state(bob, 'away')), { userId: bob.id, state: 'away', lastSeen: null, text: 'at lunch' });
    assert.deepEqual(await b.call('presence:set', { state: 'dnd' }), { ok: true });
    assert.equal((await a.next('presence:state', state(bob, 'dnd'))).text, 'at lunch', 'a text that is not named stays');
    assert.deepEqual(await b.call('presence:set', { state: 'online', text: null }), { ok: true });
    const mark = a.mark;
    assert.equal((await a.next('presence:state', ({ userId, text, state: now }) => userId === bob.id && now === 'online' && text === null, { from: mark })).lastSeen, null);
    assert.equal(a.all('presence:online', about(bob)).length, 1, 'a state is no coming');
    const before = Date.now();
    b.close();
    const gone = await a.next('presence:state', state(bob, 'offline'), { ms: 4_000 });
    assert.ok(Math.abs(Date.parse(gone.lastSeen) - before) < 10_000, gone.lastSeen);
    assert.equal(gone.text, null);
    const names = a.events.filter(({ name, payload }) => name.startsWith('presence:') && payload.userId === bob.id).map(({ name }) => name);
    assert.deepEqual(names.slice(-2), ['presence:offline', 'presence:state'], 'E-054 follows E-013');
    assert.deepEqual(e.all('presence:state'), []);
    [a, e].forEach((client) => client.close());
  });

  test('E-053 who is invisible looks as if gone, and back again when not', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await befriend(ann, bob);
    const [a, b] = [await ann.connect(), await bob.connect()];
    await a.next('presence:online', about(bob));
    const device = await bob.connect();
    const own = device.mark;
    await b.ok('presence:set', { state: 'invisible', text: 'secret' });
    await a.next('presence:offline', about(bob));
    const gone = await a.next('presence:state', state(bob, 'offline'));
    assert.ok(gone.lastSeen && gone.text === null);
    assert.ok(!(await online(a)).includes(bob.id));
    const mark = a.mark;
    device.close();
    const other = await bob.connect();
    await other.ok('presence:set', { state: 'invisible', text: 'another' });
    await a.none('presence:state', about(bob), { from: mark, ms: 1_500 });
    assert.deepEqual(device.events.slice(own).filter(({ name, payload }) => name === 'presence:offline' && payload.userId === bob.id), []);
    await other.ok('presence:set', { state: 'dnd' });
    await a.next('presence:online', about(bob), { from: mark });
    await a.next('presence:state', state(bob, 'dnd'), { from: mark });
    assert.ok((await online(a)).includes(bob.id));
    [a, b, other].forEach((client) => client.close());
  });

  test('E-053 a state is one for all devices and is there when the person comes back', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await befriend(ann, bob);
    const a = await ann.connect();
    const b = await bob.connect();
    await b.ok('presence:set', { state: 'away', text: 'x'.repeat(200) });
    await a.next('presence:state', state(bob, 'away'));
    b.close();
    await a.next('presence:offline', about(bob), { ms: 4_000 });
    await a.next('presence:state', state(bob, 'offline'));
    const mark = a.mark;
    const again = await bob.connect();
    await a.next('presence:online', about(bob), { from: mark });
    assert.equal((await a.next('presence:state', about(bob), { from: mark })).state, 'away');
    [a, again].forEach((client) => client.close());
  });

  test('E-053 what makes no sense is refused by its field', async () => {
    const [bob] = await people(server, 'bob');
    const b = await bob.connect();
    for (const [field, payload] of [
      ['payload', null], ['state', {}], ['state', { state: 'offline' }], ['state', { state: 'in_call' }], ['state', { state: 1 }], ['state', { state: 'Online' }],
      ['text', { state: 'away', text: 1 }], ['text', { state: 'away', text: 'x'.repeat(201) }], ['text', { state: 'away', text: 'a\u0007b' }], ['text', { state: 'away', text: {} }],
    ]) {
      const error = await b.refused('INVALID_DATA', 'presence:set', payload);
      assert.equal(error.field, field, JSON.stringify(payload));
    }
    assert.deepEqual(await b.call('presence:set', { state: 'away', text: '😀'.repeat(200) }), { ok: true });
    b.close();
  });
});
