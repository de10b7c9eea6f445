// Presence: who sees whom come and go, with several devices. E-010..E-013, C-19, P1, P2.
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
