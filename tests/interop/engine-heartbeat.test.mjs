// Engine.IO: the server pings at 300 ms, and closes 200 ms later without an answer. Counted from the open packet.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { application, witness } from '../support/echo.mjs';
import { openSocket, Polling, RawSocket } from '../support/raw.mjs';
import { timed } from '../support/retry.mjs';

const INTERVAL = 300;
const TIMEOUT = 200;
let app;
let other;
before(async () => { app = await application(); other = await witness(app); });
after(async () => { other?.close(); await app?.stop(); });

/** `ms` within the wanted time; a busy machine may be late, never early. */
const about = (ms, wanted, late = 150) => assert.ok(ms > wanted - 60 && ms < wanted + late, `${ms} ms instead of ${wanted}`);

for (const path of ['/engine.io/', '/socket.io/']) {
  // Without CONNECT a Socket.IO transport is closed after 1,000 ms: enough for three pings.
  describe(path, { concurrency: 5 }, () => {
    timed('websocket: three pings, each 300 ms after the last answer', async () => {
      const socket = await openSocket(app.base, path, { pong: false, pings: true });
      for (let n = 0; n < 3; n += 1) {
        const start = performance.now();
        assert.equal(await socket.next(), '2');
        about(performance.now() - start, INTERVAL);
        socket.send('3');
      }
      socket.close();
    });

    timed('websocket: without an answer closed at 500 ms', async () => {
      const socket = await openSocket(app.base, path, { pong: false, pings: true });
      const start = performance.now();
      await socket.ended();
      about(performance.now() - start, INTERVAL + TIMEOUT);
      assert.deepEqual(socket.inbox, ['2']);
    });

    timed('polling: three pings', async () => {
      const session = await Polling.open(app.base, path);
      for (let n = 0; n < 3; n += 1) {
        const start = performance.now();
        assert.equal((await session.get()).text, '2');
        about(performance.now() - start, INTERVAL);
        await session.posted('3');
      }
    });

    timed('polling: without an answer the poll at 500 ms is 400', async () => {
      const session = await Polling.open(app.base, path);
      await sleep(INTERVAL + TIMEOUT + 20);
      await session.gone();
    });

    timed('polling: a poll that waits when the ping timeout comes is ended', async () => {
      const session = await Polling.open(app.base, path);
      assert.equal((await session.get()).text, '2');
      const start = performance.now();
      const answer = await session.get({ timeout: 2_000 });
      assert.ok(answer.status === 400 || ['1', '6'].includes(answer.text), `${answer.status} ${answer.text}`);
      about(performance.now() - start, TIMEOUT);
      await session.gone();
    });
  });
}

describe('clocks', { concurrency: 6 }, () => {
  timed('messages do not replace the answer to a ping', async () => {
    const socket = await openSocket(app.base, '/engine.io/', { pong: false, pings: true });
    const timer = setInterval(() => socket.ws.readyState === 1 && socket.send('4busy'), 50);
    const start = performance.now();
    await socket.ended();
    clearInterval(timer);
    about(performance.now() - start, INTERVAL + TIMEOUT);
  });

  timed('the ping clock goes on over an upgrade', async () => {
    const session = await Polling.open(app.base, '/engine.io/');
    const start = performance.now();
    await sleep(150);
    const socket = await session.upgrade({ pong: false, pings: true });
    assert.equal(await socket.next(), '2');
    about(performance.now() - start, INTERVAL);
    socket.send('3');
    assert.equal(await socket.next(), '2');
    await socket.ended();
  });

  timed('an answer to a ping over polling counts after the upgrade', async () => {
    const session = await Polling.open(app.base, '/engine.io/');
    assert.equal((await session.get()).text, '2');
    await session.posted('3');
    const socket = await session.upgrade({ pong: false, pings: true });
    await sleep(250);
    assert.equal(socket.code, undefined);
    socket.close();
  });

  timed('answers nobody asked for do no harm', async () => {
    const socket = await openSocket(app.base, '/engine.io/', { pong: false, pings: true });
    socket.send('3', '3', '4x');
    assert.equal(await socket.next(), '4x');
    assert.equal(await socket.next(), '2');
    socket.send('3', '4y');
    assert.equal(await socket.next(), '4y');
    socket.close();
  });

  timed('Socket.IO: a transport without CONNECT is closed after 1,000 ms', async () => {
    const start = performance.now();
    const socket = await openSocket(app.base, '/socket.io/');
    await socket.ended();
    about(performance.now() - start, 1_000, 300);
  });

  timed('Socket.IO: a polling session without CONNECT is closed after 1,000 ms', async () => {
    const session = await Polling.open(app.base, '/socket.io/');
    for (const end = Date.now() + 1_500; Date.now() < end;) {
      const answer = await session.get();
      if (answer.status === 400 || answer.text === '1') return;
      if (answer.text.includes('2')) await session.post('3');
    }
    assert.fail('the session lives');
  });
});

test('heartbeats of 50 connections at once', async () => {
  const sockets = await Promise.all(Array.from({ length: 50 }, () => openSocket(app.base, '/engine.io/', { pings: true })));
  await sleep(1_600);
  for (const socket of sockets) {
    const pings = socket.inbox.filter((packet) => packet === '2').length;
    assert.ok(pings >= 3 && pings <= 6, `${pings} pings`);
    assert.equal(socket.code, undefined);
    socket.close();
  }
  await other.works();
});

test('a websocket that opens and never reads is closed', async () => {
  const socket = new RawSocket(app.base, '/engine.io/', { pong: false });
  await socket.open;
  socket.ws._socket.pause();
  await sleep(1_000);
  socket.ws._socket.resume();
  await socket.ended();
  await other.works();
});
