// Engine.IO: packets over both transports, bad packets, closing. Framing rules of the protocol, N53.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { application, foreign, ours, witness } from '../support/echo.mjs';
import { BareSocket, frame, openSocket, Polling, RawSocket, SEPARATOR } from '../support/raw.mjs';

const PATH = '/engine.io/';
let app;
let other;
before(async () => { app = await application(); other = await witness(app); });
after(async () => { other?.close(); await app?.stop(); });

/** A case after which the process must live and others must not have noticed. */
const hostile = (name, options, fn) => {
  if (typeof options === 'function') return hostile(name, {}, options);
  return test(name, options, async (t) => { await fn(t); await other.works(); });
};

/** Other implementations may drop the connection without a close frame. */
const isUtf8Close = (code) => assert.ok(code === 1007 || (foreign && code === undefined), `closed with ${code}`);

describe('polling', () => {
  test('one packet comes back; the answer to POST is the text ok', async () => {
    const session = await Polling.open(app.base, PATH);
    const posted = await session.post('4hello');
    assert.equal(posted.status, 200);
    assert.equal(posted.text, 'ok');
    assert.match(posted.headers['content-type'], /^text\/html/);
    const got = await session.get();
    assert.equal(got.status, 200);
    assert.match(got.headers['content-type'], /^text\/plain; ?charset=utf-8$/i);
    assert.equal(got.text, '4hello');
  });

  test('several packets come back in order, separated by one byte and none at the end', async () => {
    const session = await Polling.open(app.base, PATH);
    await session.posted(['4test1', '4test2', '4test3'].join(SEPARATOR));
    assert.equal((await session.get()).text, '4test1\x1e4test2\x1e4test3');
  });

  test('binary is b and base64, without the type digit', async () => {
    const session = await Polling.open(app.base, PATH);
    await session.posted('4hello\x1ebAQIDBA==');
    assert.equal((await session.get()).text, '4hello\x1ebAQIDBA==');
  });

  test('binary of every length keeps its padding', async () => {
    const session = await Polling.open(app.base, PATH);
    const packets = Array.from({ length: 9 }, (_, n) => `b${Buffer.from(Array(n + 1).fill(250 + (n % 5))).toString('base64')}`);
    await session.posted(packets.join(SEPARATOR));
    assert.deepEqual(await session.take(9), packets);
  });

  test('text of every plane comes back as it was', async () => {
    const session = await Polling.open(app.base, PATH);
    const text = '4\u00e9 \u20ac \u{1f44d}\u200d \u2028 \ufeff tab\t nul\\u0000 \u202e';
    await session.posted(text);
    assert.equal((await session.get()).text, text);
  });

  test('a GET waits for the next packet', async () => {
    const session = await Polling.open(app.base, PATH);
    const waiting = session.get();
    await sleep(50);
    await session.posted('4late');
    assert.equal((await waiting).text, '4late');
  });

  test('an empty message is a message', async () => {
    const session = await Polling.open(app.base, PATH);
    await session.posted('4');
    assert.equal((await session.get()).text, '4');
  });

  for (const [name, body] of [
    ['abc', 'abc'], ['an empty body', ''], ['only a separator', SEPARATOR], ['type 9', '9x'], ['a separator at the end', '4a\x1e'],
    ['a good packet before a bad one', '4good\x1exbad'],
  ]) {
    hostile(`the body ${name} closes the session`, async () => {
      const session = await Polling.open(app.base, PATH);
      const answer = await session.post(body).catch((error) => error);
      if (!(answer instanceof Error)) assert.ok([200, 400].includes(answer.status), `${answer.status}`);
      await session.gone();
    });
  }

  hostile('a ping from the client closes the session', async () => {
    const session = await Polling.open(app.base, PATH);
    await session.post('2').catch(() => {});
    await session.gone();
  });

  hostile('N53 a second GET closes the session: the first gets 1, the second 400', async () => {
    const session = await Polling.open(app.base, PATH);
    const first = session.get();
    await sleep(10);
    const second = session.get({ query: { t: 'burst' } });
    assert.equal((await first).status, 200);
    assert.equal((await first).text, '1');
    assert.equal((await second).status, 400);
    await session.gone();
  });

  hostile('a cancelled GET closes the session', async () => {
    const session = await Polling.open(app.base, PATH);
    const waiting = session.get();
    await sleep(30);
    waiting.abort();
    await sleep(30);
    await session.gone();
  });

  hostile('a POST of 1 closes the session and ends the waiting GET with 6', async () => {
    const session = await Polling.open(app.base, PATH);
    const waiting = session.get();
    await sleep(10);
    await session.posted('1');
    assert.equal((await waiting).status, 200);
    assert.equal((await waiting).text, '6');
    await session.gone();
  });

  hostile('two POSTs of one session at once: 400, and the session is closed', async () => {
    const session = await Polling.open(app.base, PATH);
    const { hostname, port, host } = new URL(app.base);
    const unfinished = connect(Number(port), hostname);
    unfinished.on('error', () => {});
    unfinished.write(`POST ${PATH}?EIO=4&transport=polling&sid=${session.sid} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n4begun`);
    await sleep(50);
    const second = await session.post('4second').catch((error) => error);
    if (!(second instanceof Error)) assert.equal(second.status, 400);
    await session.gone();
    unfinished.destroy();
  });

  hostile('a body over maxPayload is refused with 413 and the session goes on', async () => {
    const session = await Polling.open(app.base, PATH);
    const answer = await session.post(`4${'x'.repeat(1_000_001)}`).catch((error) => error);
    if (!(answer instanceof Error)) assert.equal(answer.status, 413);
    await session.posted('4after');
    assert.deepEqual(await session.take(1), ['4after']);
  });

  hostile('N53 application/octet-stream is refused', async () => {
    const session = await Polling.open(app.base, PATH);
    const answer = await session.post(Buffer.from([4, 1, 2]), { headers: { 'content-type': 'application/octet-stream' } }).catch((error) => error);
    if (!(answer instanceof Error)) assert.equal(answer.status, 400);
  });

  hostile('N53 10,000 packets in one body are refused', ours, async () => {
    const session = await Polling.open(app.base, PATH);
    const answer = await session.post(Array(10_000).fill('4x').join(SEPARATOR));
    assert.equal(answer.status, 400);
    await session.gone();
  });

  test('64 packets in one body are taken', async () => {
    const session = await Polling.open(app.base, PATH);
    const packets = Array.from({ length: 64 }, (_, n) => `4${n}`);
    await session.posted(packets.join(SEPARATOR));
    assert.deepEqual(await session.take(64), packets);
  });

  hostile('a method that is neither GET nor POST is refused', ours, async () => {
    const session = await Polling.open(app.base, PATH);
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      const answer = await session.get({ method });
      assert.ok(answer.status >= 400 && answer.status < 500, `${method} ${answer.status}`);
    }
    await session.posted('4x');
    assert.deepEqual(await session.take(1), ['4x']);
  });

  hostile('invalid UTF-8 in a body never reaches the other side as something else', ours, async () => {
    const session = await Polling.open(app.base, PATH);
    const answer = await session.post(Buffer.from([0x34, 0xff, 0xfe, 0x80]));
    assert.equal(answer.status, 400);
    await session.gone();
  });

  hostile('base64 that is none closes the session', ours, async () => {
    const session = await Polling.open(app.base, PATH);
    await session.post('b%%%').catch(() => {});
    await session.gone();
  });
});

describe('websocket', () => {
  test('text comes back', async () => {
    const socket = await openSocket(app.base, PATH);
    socket.send('4hello');
    assert.equal(await socket.next(), '4hello');
    socket.close();
  });

  test('binary comes back as a bare frame', async () => {
    const socket = await openSocket(app.base, PATH);
    socket.send(Buffer.from([1, 2, 3, 4]));
    assert.deepEqual(await socket.next(), Buffer.from([1, 2, 3, 4]));
    socket.close();
  });

  test('500 messages come back in order', async () => {
    const socket = await openSocket(app.base, PATH);
    const sent = Array.from({ length: 500 }, (_, n) => (n % 7 ? `4${n}` : Buffer.from(String(n))));
    socket.send(...sent);
    assert.deepEqual(await socket.take(500), sent);
    socket.close();
  });

  test('a message of maxPayload bytes comes back', async () => {
    const socket = await openSocket(app.base, PATH);
    const text = `4${'y'.repeat(999_999)}`;
    socket.send(text);
    assert.ok((await socket.next()) === text);
    socket.close();
  });

  test('one message in many fragments, with a ping frame between them, comes back whole', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.write(frame({ fin: false, opcode: 1, payload: '4frag' }), frame({ opcode: 9, payload: 'p' }), frame({ fin: false, opcode: 0, payload: 'men' }),
      frame({ fin: true, opcode: 0, payload: 'ted' }));
    assert.equal(String((await socket.frame(({ opcode }) => opcode === 10)).payload), 'p');
    assert.equal(String((await socket.frame(({ opcode, payload }) => opcode === 1 && payload[0] === 0x34)).payload), '4fragmented');
    socket.close();
  });

  for (const packet of ['abc', '', '7', '9x', '2', '2probe', '0{}', 'b!!!!']) {
    hostile(`the packet "${packet}" closes the connection`, ['7', '0{}', '2probe', 'b!!!!'].includes(packet) ? ours : {}, async () => {
      const socket = await openSocket(app.base, PATH);
      socket.send(packet);
      await socket.ended();
    });
  }

  hostile('the packet 1 closes the connection', ours, async () => {
    const socket = await openSocket(app.base, PATH);
    socket.send('1');
    await socket.ended();
  });

  hostile('a close frame is answered', async () => {
    const socket = await openSocket(app.base, PATH);
    socket.ws.close(1000);
    assert.equal(await socket.ended(), 1000);
  });

  hostile('a message over maxPayload closes with 1009', async () => {
    const socket = await openSocket(app.base, PATH);
    socket.send(`4${'x'.repeat(1_000_001)}`);
    assert.equal(await socket.ended(), 1009);
  });

  hostile('F25 fragments are counted into the same bound', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.write(frame({ fin: false, opcode: 1, payload: '4' }));
    for (let n = 0; n < 21; n += 1) socket.write(frame({ fin: false, opcode: 0, payload: Buffer.alloc(50_000, 0x78) }));
    assert.ok([1009, undefined].includes(await socket.ended()));
  });

  hostile('F25 a frame that announces 2^62 bytes closes with 1009 at once', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.write(frame({ opcode: 1, payload: '4x', length: 2 ** 52 }));
    assert.ok([1009, 1002, undefined].includes(await socket.ended()));
  });

  hostile('F25 100,000 empty fragments do no harm', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.write(frame({ fin: false, opcode: 1, payload: '4' }));
    const empty = frame({ fin: false, opcode: 0 });
    socket.write(Buffer.concat(Array(100_000).fill(empty)), frame({ fin: true, opcode: 0, payload: 'x' }));
    await sleep(300);
    socket.close();
  });

  hostile('text that is not UTF-8 closes with 1007', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.write(frame({ opcode: 1, payload: Buffer.from([0x34, 0xc3, 0x28]) }));
    isUtf8Close(await socket.ended());
  });

  hostile('a code point cut in two fragments is whole, a lone half is 1007', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    const euro = Buffer.from('\u20ac');
    socket.write(frame({ fin: false, opcode: 1, payload: Buffer.concat([Buffer.from('4'), euro.subarray(0, 1)]) }), frame({ opcode: 0, payload: euro.subarray(1) }));
    assert.equal(String((await socket.frame(({ opcode, payload }) => opcode === 1 && payload[0] === 0x34)).payload), '4\u20ac');
    socket.write(frame({ opcode: 1, payload: Buffer.concat([Buffer.from('4'), euro.subarray(0, 2)]) }));
    isUtf8Close(await socket.ended());
  });

  for (const [name, bytes] of [
    ['an unmasked frame', frame({ masked: false, payload: '4x' })],
    ['a reserved bit', frame({ rsv: 4, payload: '4x' })],
    ['a reserved opcode', frame({ opcode: 3, payload: '4x' })],
    ['a continuation of nothing', frame({ opcode: 0, payload: '4x' })],
    ['a new message inside a fragmented one', Buffer.concat([frame({ fin: false, payload: '4x' }), frame({ payload: '4y' })])],
    ['a fragmented control frame', frame({ fin: false, opcode: 9, payload: 'x' })],
    ['a control frame of 126 bytes', frame({ opcode: 9, payload: Buffer.alloc(126) })],
    ['a close frame of one byte', frame({ opcode: 8, payload: Buffer.from([3]) })],
    ['a close frame with code 1005', frame({ opcode: 8, payload: Buffer.from([0x03, 0xed]) })],
  ]) {
    hostile(`${name} closes the connection`, async () => {
      const socket = await new BareSocket(app.base, PATH).ready();
      socket.write(bytes);
      const code = await socket.ended();
      assert.ok([1002, 1009, undefined].includes(code), `${code}`);
    });
  }

  hostile('a client that vanishes without a close frame is let go', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.tcp.resetAndDestroy();
  });

  hostile('a half-sent frame that never ends is given up after the ping timeout', async () => {
    const socket = await new BareSocket(app.base, PATH).ready();
    socket.write(frame({ opcode: 1, payload: '4x', length: 1_000 }));
    await socket.ended(3_000);
  });
});

test('200 websockets come and go', async () => {
  const sockets = await Promise.all(Array.from({ length: 200 }, () => openSocket(app.base, PATH, { pong: true })));
  sockets.forEach((socket, n) => socket.send(`4${n}`));
  assert.deepEqual(await Promise.all(sockets.map((socket) => socket.next())), sockets.map((_, n) => `4${n}`));
  sockets.forEach((socket, n) => (n % 2 ? socket.close() : socket.ws.close()));
  await other.works();
});

test('a refused websocket says why', ours, async () => {
  const socket = new RawSocket(app.base, PATH, { query: { EIO: '3' } });
  await socket.refused();
  if (socket.status !== 101) assert.equal(JSON.parse(socket.refusal).code, 5);
});
