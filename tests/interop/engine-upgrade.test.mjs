// Engine.IO: from polling to websocket with all its races. F28.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { application, namespace, ours, witness } from '../support/echo.mjs';
import { Polling } from '../support/raw.mjs';
import { timed } from '../support/retry.mjs';
import { Client, TRANSPORTS } from '../support/sockets.mjs';

let app;
let other;
before(async () => { app = await application(); other = await witness(app); });
after(async () => { other?.close(); await app?.stop(); });

/** Answers pings of a session that nobody polls for a while. */
const keepAlive = (session) => {
  const timer = setInterval(() => session.post('3').catch(() => {}), 90);
  return () => clearInterval(timer);
};

for (const path of ['/engine.io/', '/socket.io/']) {
  const echo = path === '/engine.io/';
  describe(path, () => {
    timed('probe, noop to the waiting poll, switch', async () => {
      const session = await Polling.open(app.base, path);
      const socket = session.candidate();
      await socket.open;
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      const got = await session.get();
      assert.equal(got.status, 200);
      assert.equal(got.text, '6');
      socket.send('5', echo ? '4hello' : '40');
      const answer = await socket.next();
      assert.ok(echo ? answer === '4hello' : answer.startsWith('40{'), answer);
      socket.close();
    });

    test('no open packet is sent on a candidate, and nothing but the probe answer', async () => {
      const session = await Polling.open(app.base, path);
      const socket = session.candidate({ pings: true });
      await socket.open;
      await socket.silent(50);
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      if (echo) await session.posted('4while probing');
      await socket.silent(100);
      if (echo) assert.deepEqual((await session.packets()).filter((packet) => packet[0] === '4'), ['4while probing']);
      socket.close();
    });

    test('after the upgrade a GET is 400 and the websocket lives', async () => {
      const session = await Polling.open(app.base, path);
      const socket = await session.upgrade();
      await sleep(20);
      const got = await session.get();
      assert.equal(got.status, 400);
      socket.send(echo ? '4hello' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    test('after the upgrade a second websocket is closed without disturbing the first', async () => {
      const session = await Polling.open(app.base, path);
      const socket = await session.upgrade();
      await sleep(20);
      const second = session.candidate();
      await second.refused();
      socket.send(echo ? '4hello' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    test('2probe and 5 back to back, before the answer', async () => {
      const session = await Polling.open(app.base, path);
      const socket = session.candidate();
      await socket.open;
      socket.send('2probe', '5', echo ? '4at once' : '40');
      assert.equal(await socket.next(), '3probe');
      const answer = await socket.next();
      assert.ok(echo ? answer === '4at once' : answer.startsWith('40{'), answer);
      socket.close();
    });

    test('2probe and 5 back to back while a poll waits', async () => {
      const session = await Polling.open(app.base, path);
      const waiting = session.get();
      await sleep(20);
      const socket = session.candidate();
      await socket.open;
      socket.send('2probe', '5');
      assert.equal(await socket.next(), '3probe');
      const got = await waiting;
      assert.ok(got.status === 400 || ['6', '1'].includes(got.text), got.text);
      socket.send(echo ? '4hello' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    test('a POST after 5 is processed or refused, never kept waiting', async () => {
      const session = await Polling.open(app.base, path);
      const socket = await session.upgrade();
      const answer = await session.post(echo ? '4after' : '40', { timeout: 3_000 });
      assert.ok([200, 400].includes(answer.status), `${answer.status}`);
      if (answer.status === 200) assert.equal((await socket.next())[0], '4');
      socket.send(echo ? '4on' : answer.status === 200 ? '42["message",1]' : '40');
      await socket.until((packet) => packet[0] === '4');
      socket.close();
    });

    test('a poll that waits when the probe comes is ended with 6 within a moment', async () => {
      const session = await Polling.open(app.base, path);
      const waiting = session.get();
      const socket = session.candidate();
      await socket.open;
      const start = Date.now();
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      const got = await waiting;
      assert.equal(got.text, '6');
      assert.ok(Date.now() - start < 290, `${Date.now() - start} ms`);
      socket.send('5');
      socket.close();
    });

    timed('each further poll during the upgrade is ended with 6 too', async () => {
      const session = await Polling.open(app.base, path);
      const socket = session.candidate();
      await socket.open;
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      for (let n = 0; n < 2; n += 1) {
        const start = Date.now();
        assert.deepEqual(await session.packets(), ['6']);
        assert.ok(Date.now() - start < 250, `${Date.now() - start} ms`);
      }
      socket.send('5', echo ? '4hello' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    for (const packet of ['4too early', '2', '3probe', '5', 'abc', '2probex']) {
      test(`a candidate that sends "${packet}" instead of the probe is closed, polling goes on`, packet === '5' || packet === '2' ? ours : {}, async () => {
        const session = await Polling.open(app.base, path);
        const socket = session.candidate();
        await socket.open;
        socket.send(packet);
        await socket.ended();
        await session.posted(echo ? '4hello' : '40');
        assert.equal((await session.take(1))[0][0], '4');
        await other.works();
      });
    }

    test('a candidate that sends something else after the probe is closed, polling goes on', async () => {
      const session = await Polling.open(app.base, path);
      const socket = session.candidate();
      await socket.open;
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      socket.send('4too early');
      await socket.ended();
      await session.posted(echo ? '4hello' : '40');
      assert.equal((await session.take(1))[0][0], '4');
    });

    test('a candidate that vanishes leaves polling as it was, and another one may come', async () => {
      const session = await Polling.open(app.base, path);
      for (const probed of [false, true]) {
        const socket = session.candidate();
        await socket.open;
        if (probed) {
          socket.send('2probe');
          assert.equal(await socket.next(), '3probe');
        }
        socket.close();
        await sleep(50);
        await session.posted('3');
      }
      const socket = await session.upgrade();
      socket.send(echo ? '4hello' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    test('of two candidates at most one wins, and the session works', async () => {
      const session = await Polling.open(app.base, path);
      const [a, b] = [session.candidate(), session.candidate()];
      await Promise.race([Promise.all([a.open, b.open]), sleep(200)]);
      await sleep(20);
      const alive = [a, b].filter((socket) => socket.code === undefined);
      assert.ok(alive.length >= 1);
      const [winner] = alive;
      winner.send('2probe', '5', echo ? '4hello' : '40');
      assert.equal(await winner.next(), '3probe');
      assert.equal((await winner.next())[0], '4');
      const loser = winner === a ? b : a;
      if (loser.code === undefined) {
        loser.send('2probe', '5');
        await loser.ended();
      }
      winner.send(echo ? '4again' : '42["message",1]');
      await winner.until((packet) => echo ? packet === '4again' : packet === '42["message-back",1]');
      a.close();
      b.close();
    });

    test('a session closed over polling takes its candidate with it', async () => {
      const session = await Polling.open(app.base, path);
      const socket = session.candidate();
      await socket.open;
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      await session.posted('1');
      await socket.ended();
      await session.gone();
    });
  });
}

test('what is queued between the last poll and 5 is flushed to the websocket in order', async () => {
  const session = await Polling.open(app.base, '/engine.io/');
  const socket = session.candidate();
  await socket.open;
  socket.send('2probe');
  assert.equal(await socket.next(), '3probe');
  await session.packets();
  await session.posted(['4a', '4b', '4c', 'bAQID'].join('\x1e'));
  socket.send('5', '4d');
  assert.deepEqual(await socket.take(5), ['4a', '4b', '4c', Buffer.from([1, 2, 3]), '4d']);
  await socket.silent(100);
  socket.close();
});

test('packets posted all through the upgrade arrive once, in order, on one transport or the other', async () => {
  for (let round = 0; round < 5; round += 1) {
    const session = await Polling.open(app.base, '/engine.io/');
    const got = [];
    let n = 0;
    const post = async () => session.posted(`4${n++}`);
    await post();
    got.push(...await session.take(1));
    const socket = session.candidate();
    await socket.open;
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    const polling = (async () => {
      for (;;) {
        const packets = await session.packets();
        got.push(...packets.filter((packet) => packet[0] === '4'));
        if (packets.includes('6')) return;
      }
    })();
    for (let k = 0; k < round * 3; k += 1) await post();
    await polling;
    await post();
    socket.send('5');
    socket.send(`4${n++}`, `4${n++}`);
    while (got.length < n) got.push(await socket.next());
    assert.deepEqual(got, Array.from({ length: n }, (_, k) => `4${k}`));
    await socket.silent(50);
    socket.close();
  }
});

test('CONNECT on polling while the probe runs is answered once, on one of the two', async () => {
  const session = await Polling.open(app.base, '/socket.io/');
  const socket = session.candidate();
  await socket.open;
  socket.send('2probe');
  await session.posted('40');
  assert.equal(await socket.next(), '3probe');
  const polled = (await session.packets()).filter((packet) => packet[0] === '4');
  socket.send('5', '42["message","end"]');
  await socket.until((packet) => packet === '42["message-back","end"]' || polled.push(packet) === -1);
  assert.equal(polled.filter((packet) => packet.startsWith('40')).length, 1);
  assert.equal(polled.filter((packet) => packet === '42["auth",{}]').length, 1);
  assert.equal(polled.length, 2);
  socket.close();
});

test('a candidate without 5 is closed after 10 s and polling keeps working', async () => {
  const session = await Polling.open(app.base, '/engine.io/');
  const socket = session.candidate();
  await socket.open;
  socket.send('2probe');
  assert.equal(await socket.next(), '3probe');
  const stop = keepAlive(session);
  const start = Date.now();
  await socket.ended(13_000);
  const took = Date.now() - start;
  stop();
  assert.ok(took > 8_500 && took < 12_000, `${took} ms`);
  await session.posted('4hello');
  assert.deepEqual(await session.take(1), ['4hello']);
});

test('F28 a stock client sends and receives all through its upgrade: nothing lost, doubled or reordered', async () => {
  for (let round = 0; round < 6; round += 1) {
    const client = new Client(app.base);
    const total = 120;
    const sending = (async () => {
      for (let n = 0; n < total; n += 1) {
        client.emit('message', n, n % 10 === 3 ? Buffer.from([n]) : 'text');
        if (n % 8 === 0) await sleep(round);
      }
    })();
    await client.opened();
    await sending;
    const back = await client.count('message-back', total);
    assert.deepEqual(back, Array.from({ length: total }, (_, n) => n));
    await client.upgraded();
    await sleep(50);
    assert.equal(client.all('message-back').length, total);
    client.close();
  }
});

describe('stock clients', { concurrency: 6 }, () => { for (const [name, options] of Object.entries(TRANSPORTS)) {
  test(`a stock client, ${name}: namespaces, acks, binary both ways`, async () => {
    const client = new Client(app.base, { ...options, auth: { token: 'abc' } });
    await client.opened();
    assert.deepEqual(await client.next('auth'), { token: 'abc' });
    assert.deepEqual(await client.call('message-with-ack', 1, '2', { 3: [false] }), 1);
    client.emit('message', { bytes: Buffer.from([1, 2, 3]), deep: [{ more: new Uint8Array([4]) }] }, 'end');
    const back = client.events[client.events.length - 1]?.name === 'message-back' ? client.events.at(-1).payload : await client.next('message-back');
    assert.deepEqual(new Uint8Array(back.bytes), new Uint8Array([1, 2, 3]));
    assert.deepEqual(new Uint8Array(back.deep[0].more), new Uint8Array([4]));
    const custom = client.socket.io.socket('/custom', { auth: { x: 1 } });
    const auth = await new Promise((done) => custom.connect().once('auth', done));
    assert.deepEqual(auth, { x: 1 });
    custom.disconnect();
    assert.equal(await client.call('message-with-ack', 'alive'), 'alive');
    const wrong = client.socket.io.socket('/random', {});
    const error = await new Promise((done) => wrong.connect().once('connect_error', done));
    assert.equal(error.message, 'Invalid namespace');
    assert.equal(await client.call('message-with-ack', 'alive'), 'alive');
    wrong.disconnect();
    client.close();
  });

  test(`a stock client, ${name}: stays for many heartbeats`, async () => {
    const client = new Client(app.base, options);
    await client.opened();
    await sleep(2_500);
    assert.equal(await client.call('message-with-ack', 'still'), 'still');
    assert.equal(client.connects, 1);
    client.close();
  });
} });

test('the witness saw nothing of all this', async () => {
  await other.works();
  (await namespace(app.base)).close();
});
