// Connection state recovery with the stock client: what was missed arrives once and in order, under the same id. G-17.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people, send } from '../support/people.mjs';
import { straight, TRANSPORTS } from '../support/sockets.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

/** Where every object forgets everything after each event, a session is refused, and says so. */
const remembers = process.env.SLEEP !== 'on';
const back = { reconnection: true, reconnectionDelay: 400, reconnectionDelayMax: 500 };
const span = (from, to) => Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n);
const typing = (client, conversationId) => client.call('chat:typing', { conversationId });

/** Cuts the client off, does something meanwhile, and waits until it is back. */
async function away(client, meanwhile, cut = () => client.cut()) {
  const connects = client.connects;
  const { id } = client.socket;
  cut();
  await client.count('$disconnect', connects);
  await meanwhile?.();
  await client.count('$connect', connects + 1);
  return { recovered: client.socket.recovered, same: client.socket.id === id };
}

async function pair(...names) {
  const all = await people(server, 'ann', 'bob', ...names);
  return { all, talk: (await direct(all[0], all[1])).id };
}

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(name, { ...needs('objects', name === 'websocket only' ? 'websocket' : 'polling'), concurrency: 4 }, () => {
    test('G-17 a client that was cut off gets what it missed, with the same id', async () => {
      const { all: [ann, bob], talk } = await pair();
      const b = await bob.connect({ ...transports, ...back });
      assert.equal(b.socket.recovered, false);
      for (let n = 1; n <= 3; n += 1) await send(ann, talk, `m${n}`);
      await b.count('chat:message', 3);
      const was = await away(b, async () => { for (let n = 4; n <= 9; n += 1) await send(ann, talk, `m${n}`); });
      if (remembers) assert.deepEqual(was, { recovered: true, same: true });
      else if (!was.recovered) await b.resume({ [talk]: 3 });
      await send(ann, talk, 'live');
      await b.next('chat:message', ({ content }) => content === 'live');
      assert.deepEqual(b.seqs(talk), span(1, 10));
      bob.close();
    });

    test('G-17 a closed transport is recovered too, again and again', async () => {
      const { all: [ann, bob], talk } = await pair();
      const b = await bob.connect({ ...transports, ...back });
      let sent = 0;
      const say = async () => { sent += 1; await send(ann, talk, `m${sent}`); };
      await say();
      await b.count('chat:message', 1);
      for (let round = 0; round < 4; round += 1) {
        const was = await away(b, say, () => b.socket.io.engine.close());
        if (remembers) assert.deepEqual(was, { recovered: true, same: true }, `round ${round}`);
        else if (!was.recovered) await b.resume({ [talk]: sent - 1 });
        await say();
        await b.count('chat:message', sent);
      }
      assert.deepEqual(b.seqs(talk), span(1, sent));
      bob.close();
    });
  });
}

describe('recovery', { ...needs('objects'), concurrency: 6 }, () => {
  test('every event ends in an offset, hb does not', async () => {
    const { all: [ann, bob], talk } = await pair();
    const b = await bob.connect();
    await b.ok('chat:join', talk);
    await send(ann, talk, 'one');
    await b.next('chat:message');
    await b.call('presence:getOnline');
    b.emit('nonsense');
    await b.next('error');
    b.emit('hb');
    await b.next('hb');
    const ours = b.events.filter((event) => !event.name.startsWith('$'));
    assert.ok(ours.length >= 4);
    for (const event of ours) {
      const offset = event.name === 'hb' ? event.args.length === 0 : event.args.length === 2 && typeof event.args[1] === 'string';
      assert.ok(offset, `${event.name} ${JSON.stringify(event.args)}`);
    }
    bob.close();
  });

  test('the session is found by every gateway', async (t) => {
    const { all: [ann, bob], talk } = await pair();
    const b = await bob.connect({ ...straight, ...back });
    const home = b.socket._pid.split('.')[0];
    await b.resume({ [talk]: 0 });
    let sent = 0;
    let elsewhere = 0;
    for (let round = 0; round < 10; round += 1) {
      const was = await away(b, async () => { sent += 1; await send(ann, talk, `m${sent}`); });
      if (remembers) assert.deepEqual(was, { recovered: true, same: true }, `round ${round}`);
      else if (!was.recovered) await b.resume({ [talk]: sent - 1 });
      elsewhere += b.socket.io.engine.id.split('.')[0] === home ? 0 : 1;
      sent += 1;
      await send(ann, talk, `m${sent}`);
      await b.count('chat:message', sent);
    }
    t.diagnostic(`${elsewhere} of 10 times at another gateway`);
    assert.deepEqual(b.seqs(talk), span(1, sent), 'the union over all of them, nothing twice');
    bob.close();
  });

  test('conversations stay open, and acks of the new connection work', async () => {
    const { all: [ann, bob], talk } = await pair();
    const [a, b] = [await ann.connect(straight), await bob.connect({ ...straight, ...back })];
    await a.ok('chat:join', talk);
    await b.ok('chat:join', talk);
    await send(ann, talk, 'one');
    await b.count('chat:message', 1);
    const was = await away(b);
    if (was.recovered) {
      const mark = b.mark;
      await sleep(200);
      await typing(a, talk);
      await b.next('chat:typing', ({ userId }) => userId === ann.id, { from: mark });
    }
    await b.ok('chat:message', { conversationId: talk, content: 'two', type: 'text' });
    await a.next('chat:message', ({ content }) => content === 'two');
    [a, b].forEach((client) => client.close());
  });

  test('a resume behind a recovery repeats nothing', async () => {
    const { all: [ann, bob], talk } = await pair();
    const b = await bob.connect({ ...straight, ...back });
    await b.resume({ [talk]: 0 });
    await send(ann, talk, 'm1');
    await b.count('chat:message', 1);
    let asked;
    b.socket.on('connect', () => { asked = b.socket.timeout(10_000).emitWithAck('sync:resume', { cursors: { [talk]: Math.max(0, ...b.seqs(talk)) } }); });
    await away(b, async () => { for (let n = 2; n <= 6; n += 1) await send(ann, talk, `m${n}`); });
    const ack = await asked;
    assert.equal(ack.ok, true);
    assert.equal(ack.heads[talk], 6);
    await send(ann, talk, 'm7');
    await b.count('chat:message', 7);
    assert.deepEqual(b.seqs(talk), span(1, 7));
    bob.close();
  });

  test('who leaves by disconnect() begins anew', async () => {
    const { all: [, bob] } = await pair();
    const b = await bob.connect();
    const { id } = b.socket;
    b.socket.disconnect();
    await sleep(100);
    b.socket.connect();
    await b.count('$connect', 2);
    assert.equal(b.socket.recovered, false);
    assert.notEqual(b.socket.id, id);
    bob.close();
  });

  test('nobody else gets a session, whatever pid and offset are named', async () => {
    const { all: [ann, bob, eve], talk } = await pair('eve');
    const b = await bob.connect({ ...straight, reconnection: false });
    await send(ann, talk, 'one');
    await b.count('chat:message', 1);
    const { _pid: pid, _lastOffset: offset, id } = b.socket;
    assert.ok(pid.length >= 24 && typeof offset === 'string');
    b.cut();
    await b.next('$disconnect');
    await send(ann, talk, 'secret');
    const thief = await eve.connect({ ...straight, auth: { token: eve.token, pid, offset } });
    assert.notEqual(thief.socket.id, id);
    await thief.none('chat:message', () => true, { ms: 400 });
    for (const wrong of [{ pid: 'x' }, { pid, offset: 'zzz' }, { pid: ['x'], offset: {} }, { pid: `${'9'.repeat(40)}.x`, offset: '' }, { pid: '0.unknown', offset }]) {
      const other = await bob.connect({ ...straight, auth: { token: bob.token, ...wrong } });
      assert.notEqual(other.socket.id, id);
      await other.ok('chat:join', talk);
      other.close();
    }
    thief.close();
  });

  test('a session that was revoked is not recovered by a new one', async () => {
    const { all: [ann, bob], talk } = await pair();
    const b = await bob.connect({ ...straight, reconnection: false });
    await send(ann, talk, 'one');
    await b.count('chat:message', 1);
    const { _pid: pid, _lastOffset: offset, id } = b.socket;
    const again = await bob.login();
    assert.equal((await bob.rest.post('/api/auth/logout', { refreshToken: bob.refreshToken })).status < 300, true);
    await b.next('$disconnect');
    const other = await again.connect({ ...straight, auth: { token: again.token, pid, offset } });
    assert.notEqual(other.socket.id, id);
    other.close();
  });

  test('P1 presence does not flap, and the lists stay right', needs('websocket'), async () => {
    const { all: [ann, bob] } = await pair();
    const a = await ann.connect(straight);
    const b = await bob.connect({ ...straight, ...back });
    await a.next('presence:online', ({ userId }) => userId === bob.id);
    await away(b);
    await a.none('presence:offline', () => true, { ms: 2_500 });
    assert.ok((await b.call('presence:getOnline')).includes(ann.id));
    b.close();
    await a.next('presence:offline', ({ userId }) => userId === bob.id, { ms: 4_000 });
    a.close();
  });
});
