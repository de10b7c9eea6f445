// Engine.IO and Socket.IO on the product's own port: its limits, its authentication, its origins. Contract 1.2, guarantees 3.2.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people } from '../support/people.mjs';
import { BareSocket, frame, KEYS, openSocket, poll, Polling, RawSocket } from '../support/raw.mjs';
import { rawHttp, statuses } from '../support/rest.mjs';
import { Client } from '../support/sockets.mjs';
import { external, needs, target } from '../support/target.mjs';

const PATH = '/socket.io/';
const ORIGIN = 'https://chat.allowed.example';
let server;
let base;
let ann;
let bob;
let talk;
let witness;

before(async () => {
  server = await target({ env: { ALLOWED_ORIGINS: `${ORIGIN},capacitor://localhost` } });
  base = server.baseUrl;
  [ann, bob] = await people(server, 'ann', 'bob');
  talk = await direct(ann, bob);
  witness = { ann: await ann.connect(), bob: await bob.connect({ transports: ['websocket'] }), n: 0 };
});
after(async () => { ann?.close(); bob?.close(); await server?.stop(); });

/** The process lives, and two people who were connected all the time still talk. */
async function othersWork() {
  assert.ok(server.alive(), 'the process has ended');
  witness.n += 1;
  const content = `witness ${witness.n}`;
  await witness.ann.ok('chat:message', { conversationId: talk.id, content, type: 'text' });
  await witness.bob.next('chat:message', (message) => message.content === content);
  assert.equal(witness.ann.connects + witness.bob.connects, 2, 'a witness was cut off');
}

const hostile = (name, options, fn) => {
  if (typeof options === 'function') return hostile(name, {}, options);
  return test(name, options, async (t) => { await fn(t); await othersWork(); });
};

const token = () => JSON.stringify({ token: ann.token });
/** A websocket that is authenticated. */
async function authenticated(options) {
  const socket = await openSocket(base, PATH, options);
  socket.send(`40${token()}`);
  assert.match(await socket.next(), /^40\{/);
  return socket;
}
const isEvent = (packet) => typeof packet === 'string' && packet.startsWith('42');
/** Echoes a heartbeat event among whatever else arrives. */
const lives = async (socket) => {
  socket.send('42["hb"]');
  await socket.until((packet) => packet === '42["hb"]');
};

describe('opening', () => {
  test('G-17 polling announces exactly the contract\'s values', needs('heartbeat', 'upgrade'), async () => {
    const answer = await poll(base, PATH);
    const opened = JSON.parse(answer.text.slice(1));
    assert.deepEqual(Object.keys(opened).sort(), KEYS);
    assert.deepEqual({ ...opened, sid: '' }, { sid: '', upgrades: ['websocket'], pingInterval: 20_000, pingTimeout: 15_000, maxPayload: 65_536 });
  });

  test('G-17 a websocket announces the same and nothing to upgrade to', needs('heartbeat', 'websocket'), async () => {
    const { opened, ...socket } = await openSocket(base, PATH);
    assert.deepEqual(Object.keys(opened).sort(), KEYS);
    assert.deepEqual({ ...opened, sid: '' }, { sid: '', upgrades: [], pingInterval: 20_000, pingTimeout: 15_000, maxPayload: 65_536 });
    socket.ws.terminate();
  });

  test('G-17 a sid names its gateway and carries at least 128 random bits', async () => {
    const sids = await Promise.all(Array.from({ length: 30 }, async () => (await Polling.open(base)).sid));
    assert.equal(new Set(sids.map((sid) => sid.split('.')[1])).size, 30);
    for (const sid of sids) assert.match(sid, /^\d{1,5}\.[\w-]{22,}$/);
  });

  test('the raw Engine.IO echo is not on the product\'s port', async () => {
    assert.notEqual((await poll(base, '/engine.io/')).text[0], '0');
    await new RawSocket(base, '/engine.io/').refused();
  });

  for (const [name, options, code] of [
    ['EIO=3', { query: { EIO: '3' } }, 5], ['an unknown transport', { query: { transport: 'flashsocket' } }, 0], ['an unknown sid', { query: { sid: '0.AAAAAAAAAAAAAAAAAAAAAAAA' } }, 1],
    ['a sid of no form', { query: { sid: 'x' } }, 1], ['a sid of a gateway that is not there', { query: { sid: '77777.AAAAAAAAAAAAAAAAAAAAAA' } }, 1], ['a POST without sid', { method: 'POST', body: '40' }, 2],
  ]) {
    hostile(`N47 ${name}: 400 with code ${code}`, async () => {
      const answer = await poll(base, PATH, options);
      assert.equal(answer.status, 400);
      assert.equal(answer.json?.code, code);
    });
  }

  hostile('N47 the sid of a websocket session is refused to polling', async () => {
    const socket = await authenticated();
    assert.equal((await poll(base, PATH, { query: { sid: socket.opened.sid } })).status, 400);
    assert.equal((await poll(base, PATH, { method: 'POST', query: { sid: socket.opened.sid }, body: '42["hb"]' })).status, 400);
    await lives(socket);
    socket.close();
  });

  hostile('N47 somebody else\'s sid, as far as it can be seen or guessed, is no session', async () => {
    const session = await Polling.open(base);
    await session.posted(`40${token()}`);
    const [, socketId] = /^40\{"sid":"([^"]+)"/.exec((await session.take(1))[0]);
    const [gateway, random] = session.sid.split('.');
    const flipped = `${random[0] === 'A' ? 'B' : 'A'}${random.slice(1)}`;
    for (const sid of [socketId, witness.bob.socket.id, `${gateway}.${flipped}`, `${gateway}.${random.slice(0, -1)}`, `${Number(gateway) + 1}.${random}`, random, session.sid.toUpperCase() === session.sid ? `${session.sid}x` : session.sid.toUpperCase()]) {
      for (const options of [{}, { method: 'POST', body: '42["hb"]' }]) {
        const answer = await poll(base, PATH, { ...options, query: { sid } });
        assert.deepEqual([answer.status, answer.json?.code], [400, 1], sid);
      }
    }
    await session.posted('42["hb"]');
    await session.take(1);
    await session.posted('1');
  });

  hostile('N52 another namespace: Invalid namespace, and the connection goes on', async () => {
    const socket = await openSocket(base, PATH);
    socket.send('40/admin,');
    assert.equal(await socket.next(), '44/admin,{"message":"Invalid namespace"}');
    socket.send(`40${token()}`);
    assert.match(await socket.next(), /^40\{"sid":"[^"]+"/);
    await lives(socket);
    socket.close();
  });
});

describe('origins', () => {
  for (const origin of ['https://evil.example', 'null', 'https://chat.allowed.example.evil.example', 'http://chat.allowed.example', 'https://evil-chat.allowed.example', 'https://chat.allowed.example:8443']) {
    hostile(`N46 N17 a websocket from ${origin} is 403, polling from it gets no permission`, external ? { skip: 'the allowed origins of this host are not known here' } : {}, async () => {
      const socket = new RawSocket(base, PATH, { headers: { origin } });
      await socket.ended();
      assert.equal(socket.status, 403);
      const answer = await poll(base, PATH, { headers: { origin } });
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
    });
  }

  for (const origin of [ORIGIN, 'capacitor://localhost']) {
    test(`V-18 ${origin} is allowed by name`, external ? { skip: 'the allowed origins of this host are not known here' } : {}, async () => {
      const socket = await openSocket(base, PATH, { headers: { origin } });
      socket.close();
      const answer = await poll(base, PATH, { headers: { origin } });
      assert.equal(answer.headers['access-control-allow-origin'], origin);
      const preflight = await poll(base, PATH, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });
      assert.ok([200, 204].includes(preflight.status));
      assert.equal(preflight.headers['access-control-allow-origin'], origin);
    });
  }

  test('N46 the same origin and no origin are allowed, and a token decides', async () => {
    for (const headers of [{ origin: base }, {}]) {
      const socket = await authenticated({ headers });
      await lives(socket);
      socket.close();
      const stranger = await openSocket(base, PATH, { headers });
      stranger.send('40{"token":"nonsense"}');
      assert.match(await stranger.next(), /^44\{.*"UNAUTHORIZED"/);
      stranger.close();
    }
  });
});

describe('sizes', () => {
  hostile('3.2 a frame of more than 4 KiB before authentication closes with 1009', async () => {
    const socket = await openSocket(base, PATH);
    socket.send(`40{"token":"${'x'.repeat(5_000)}"}`);
    assert.equal(await socket.ended(), 1009);
  });

  hostile('3.2 a frame of more than 64 KiB after authentication closes with 1009', async () => {
    const socket = await authenticated();
    socket.send(`42["chat:message",{"content":"${'x'.repeat(70_000)}"}]`);
    assert.equal(await socket.ended(), 1009);
  });

  hostile('3.2 a binary frame of more than 64 KiB closes with 1009', async () => {
    const socket = await authenticated();
    socket.send('451-["chat:message",{"_placeholder":true,"num":0}]', Buffer.alloc(70_000));
    assert.equal(await socket.ended(), 1009);
  });

  hostile('3.2 fragments are counted into the same bound', needs('frames'), async () => {
    const socket = await new BareSocket(base, PATH).ready();
    socket.write(frame({ fin: false, opcode: 1, payload: '40{"token":"' }));
    for (let n = 0; n < 10; n += 1) socket.write(frame({ fin: n === 9, opcode: 0, payload: Buffer.alloc(1_000, 0x78) }));
    assert.ok([1009, undefined].includes(await socket.ended()));
    const endless = await new BareSocket(base, PATH).ready();
    endless.write(frame({ fin: false, opcode: 1, payload: '40{"token":"' }));
    for (let n = 0; n < 70; n += 1) endless.write(frame({ fin: false, opcode: 0, payload: Buffer.alloc(1_000, 0x78) }));
    assert.ok([1009, undefined].includes(await endless.ended(2_000)));
  });

  hostile('3.2 a polling body over maxPayload is 413 and the session goes on', async () => {
    const session = await Polling.open(base);
    await session.posted(`40${token()}`);
    assert.match((await session.take(1))[0], /^40\{/);
    const answer = await session.post(`42["hb","${'x'.repeat(66_000)}"]`).catch((error) => error);
    if (!(answer instanceof Error)) assert.equal(answer.status, 413);
    await session.posted('42["hb"]');
    await session.take(1);
    await session.posted('1');
  });

  hostile('N53 a body with 10,000 packets is refused', async () => {
    const session = await Polling.open(base);
    await session.posted(`40${token()}`);
    await session.take(1);
    const answer = await session.post(Array(10_000).fill('3').join('\x1e'));
    assert.equal(answer.status, 400);
    await session.gone();
  });

  hostile('N53 a body of another content type is refused, or taken for the text that it is', async () => {
    for (const type of ['application/octet-stream', 'application/json', 'multipart/form-data; boundary=x', 'text/html']) {
      const session = await Polling.open(base);
      await session.posted(`40${token()}`);
      await session.take(1);
      const answer = await session.post('42["hb"]', { headers: { 'content-type': type } });
      if (answer.status === 200) {
        assert.ok((await session.take(1)).includes('42["hb"]'), type);
        await session.posted('1');
      } else {
        assert.ok([400, 415].includes(answer.status), `${type} ${answer.status}`);
      }
    }
    const session = await Polling.open(base);
    const binary = await session.post(Buffer.from([0x04, 0x00, 0xff]), { headers: { 'content-type': 'application/octet-stream' } });
    assert.equal(binary.status, 400);
    await session.gone();
  });

  hostile('N49 N50 eleven attachments, absurd counts, placeholders that name nothing', async () => {
    for (const packets of [
      ['4511-["chat:typing",{}]'], ['4559999999999999999999-["chat:typing",1]'],
      ['451-["chat:typing",{"_placeholder":true,"num":-1}]', Buffer.from([1])], ['451-["chat:typing",{"_placeholder":true,"num":"__proto__"}]', Buffer.from([1])],
      ['451-["chat:typing",{"_placeholder":true,"num":"0"}]', Buffer.from([1])], ['451-["chat:typing",{"_placeholder":true,"num":1}]', Buffer.from([1])], ['451-["chat:typing",{"_placeholder":true,"num":"constructor"}]', Buffer.from([1])],
    ]) {
      const socket = await authenticated();
      socket.send(...packets);
      await socket.ended();
    }
  });

  hostile('N52 JSON depth 10,000, an ack id of 60 KB, a packet before CONNECT, a second CONNECT', async () => {
    for (const packet of [`42["chat:message",${'['.repeat(10_000)}${']'.repeat(10_000)}]`, `42["chat:message",${'{"a":'.repeat(10_000)}`, `42${'1'.repeat(60_000)}["hb"]`, `40${token()}`]) {
      const socket = await authenticated();
      socket.send(packet);
      await socket.ended();
    }
    const early = await openSocket(base, PATH);
    early.send('42["chat:message",{}]');
    await early.ended();
  });

  hostile('N52 acks for ids that were never issued are ignored', async () => {
    const socket = await authenticated();
    socket.send('430["x"]', '4399[{"error":{"code":"x"}}]', '439007199254740991[]', '430["x"]');
    await lives(socket);
    socket.close();
  });

  for (const packet of ['42["connect"]', '42["connect_error",{}]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]', '42["removeListener"]', '42[7,{}]', '42[null]', '42[]', '42{}', '4abc', '42',
    `42["${'e'.repeat(200)}"]`]) {
    hostile(`G-17 ${packet.slice(0, 40)} closes the connection`, async () => {
      const socket = await authenticated();
      socket.send(packet);
      await socket.until(() => false).catch(() => {});
      assert.notEqual(socket.code, undefined);
    });
  }

  hostile('F25 invalid UTF-8 closes with 1007', needs('frames'), async () => {
    const socket = await new BareSocket(base, PATH).ready();
    socket.write(frame({ opcode: 1, payload: Buffer.from([0x34, 0x30, 0xff]) }));
    assert.equal(await socket.ended(), 1007);
  });

  hostile('F25 a frame that announces more than it may hold is closed at once', async () => {
    const socket = await new BareSocket(base, PATH).ready();
    socket.write(frame({ opcode: 2, payload: 'x', length: 2 ** 40 }));
    assert.ok([1009, 1002, undefined].includes(await socket.ended()));
  });

  hostile('N53 two GETs at once close the session, a GET nobody reads does no harm', async () => {
    const session = await Polling.open(base);
    const first = session.get();
    await sleep(10);
    assert.equal((await session.get({ query: { t: '2' } })).status, 400);
    assert.equal((await first).text, '1');
    await session.gone();
    const another = await Polling.open(base);
    const waiting = another.get();
    await sleep(10);
    waiting.abort();
  });
});

describe('time', { concurrency: 6 }, () => {
  test('F26 a websocket that never says CONNECT is closed within 5 s', needs('silent'), async () => {
    const start = Date.now();
    const socket = await openSocket(base, PATH);
    await socket.ended(8_000);
    assert.ok(Date.now() - start < 6_500, `${Date.now() - start} ms`);
    assert.ok(Date.now() - start > 3_500, `${Date.now() - start} ms`);
  });

  test('F26 so is one whose only CONNECT was refused', async () => {
    const socket = await openSocket(base, PATH);
    socket.send('40{"token":"nonsense"}');
    assert.match(await socket.next(), /^44\{/);
    await socket.ended(8_000);
  });

  test('F26 and a polling session', async () => {
    const session = await Polling.open(base);
    const start = Date.now();
    const answer = await session.get();
    assert.ok(answer.status === 400 || answer.text === '1', `${answer.status} ${answer.text}`);
    assert.ok(Date.now() - start < 6_500);
    await session.gone();
  });

  test('section 5: the server pings after 20 s and closes 15 s later without an answer', needs('heartbeat'), async () => {
    const silent = await openSocket(base, PATH, { pong: false, pings: true });
    silent.send(`40${token()}`);
    const start = Date.now();
    await silent.until((packet) => packet === '2', 23_000);
    assert.ok(Date.now() - start > 17_500, `${Date.now() - start} ms`);
    await silent.ended(18_000);
    const took = Date.now() - start;
    assert.ok(took > 33_000 && took < 38_000, `${took} ms`);
  });

  test('section 5: a held poll is answered within 25 s', async () => {
    const session = await Polling.open(base);
    await session.posted(`40${token()}`);
    await session.take(1);
    const start = Date.now();
    for (;;) {
      const packets = await session.packets();
      if (packets.includes('2')) break;
      assert.ok(packets.every(isEvent), `${packets}`);
    }
    assert.ok(Date.now() - start < 25_500, `${Date.now() - start} ms`);
    await session.posted('3\x1e1');
  });
});

describe('HTTP as such', needs('rawhttp'), () => {
  const host = () => new URL(base).host;

  hostile('N53 3.2 more than 100 headers or 16 KiB of them: 431', async () => {
    for (const headers of [
      Array.from({ length: 10_000 }, (_, n) => `x-${n}: 1\r\n`).join(''), Array.from({ length: 150 }, (_, n) => `x-${n}: 1\r\n`).join(''), `x-long: ${'v'.repeat(20_000)}\r\n`,
    ]) {
      const text = await rawHttp(base, `GET ${PATH}?EIO=4&transport=polling HTTP/1.1\r\nHost: ${host()}\r\n${headers}Connection: close\r\n\r\n`);
      assert.deepEqual(statuses(text), [431]);
    }
  });

  for (const [name, request] of [
    ['both length headers', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    ['two different lengths', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\nabcd`],
    ['a length with a sign', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nContent-Length: +4\r\n\r\nabcd`],
    ['an obscured chunked', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nContent-Length : 4\r\n\r\nabcd`],
    ['a folded header', (h) => `GET /api/health HTTP/1.1\r\nHost: ${h}\r\nX-A: b\r\n c\r\n\r\n`],
    ['no Host', () => 'GET /api/health HTTP/1.1\r\n\r\n'],
    ['a request line of rubbish', () => '\x16\x03\x01\x00\xff\x01\r\n\r\n'],
    ['HTTP/3.7', (h) => `GET /api/health HTTP/3.7\r\nHost: ${h}\r\n\r\n`],
    ['both length headers, the other way round', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    ['a bare LF before the other length header', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 4\r\nX-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    ['a bare LF behind the size of a chunk', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    ['a bare CR behind the size of a chunk', (h) => `POST /api/auth/login HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\n\r\n2\r{}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ${h}\r\n\r\n`],
    ['a bare CR in a header', (h) => `GET /api/health HTTP/1.1\r\nHost: ${h}\r\nX-A: b\rX-B: c\r\n\r\n`],
  ]) {
    hostile(`N65 ${name}: refused, nothing smuggled`, async () => {
      const text = await rawHttp(base, request(host()), 1_500);
      const codes = statuses(text);
      assert.ok(codes.length <= 1, text);
      if (codes.length) assert.ok(codes[0] >= 400 && codes[0] < 500 || codes[0] === 505, `${codes}`);
    });
  }

  hostile('a request that never ends is only a waste of its own connection', async () => {
    await Promise.all(Array.from({ length: 50 }, () => rawHttp(base, 'POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{', 300)));
  });

  hostile('an upgrade without key or with another version is refused', async () => {
    for (const more of ['Sec-WebSocket-Version: 13\r\n', 'Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n']) {
      const text = await rawHttp(base, `GET ${PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${host()}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}\r\n`, 800);
      assert.ok([400, 426].includes(statuses(text)[0]), text);
    }
  });

  hostile('pipelined requests are answered in order', async () => {
    const one = `GET /api/health HTTP/1.1\r\nHost: ${host()}\r\n\r\n`;
    const text = await rawHttp(base, one.repeat(5), 800);
    assert.deepEqual(statuses(text), [200, 200, 200, 200, 200]);
  });
});

describe('floods', () => {
  hostile('N68 500 connections that say nothing, or nonsense, and go', async () => {
    const sockets = Array.from({ length: 500 }, () => new RawSocket(base, PATH));
    await Promise.all(sockets.map((socket) => Promise.race([socket.open, socket.closed])));
    sockets.forEach((socket, n) => {
      if (socket.ws.readyState !== 1) return;
      if (n % 3 === 0) socket.send('40{"token":"nonsense"}');
      if (n % 3 === 1) socket.send('nonsense');
    });
    await sleep(100);
    sockets.forEach((socket) => socket.close());
  });

  hostile('F28 stock clients that upgrade in the middle of their own traffic', async () => {
    for (let round = 0; round < 4; round += 1) {
      const client = new Client(base, { auth: { token: ann.token } });
      const sends = [];
      const opened = client.opened();
      for (let n = 0; n < 20; n += 1) sends.push(client.call('chat:message', { conversationId: talk.id, content: `upgrade ${round} ${n}`, type: 'text', clientId: `up-${ann.id}-${round}-${n}`.slice(0, 64) }));
      await opened;
      const acks = await Promise.all(sends);
      assert.deepEqual(acks.map((ack) => ack.message?.content), Array.from({ length: 20 }, (_, n) => `upgrade ${round} ${n}`));
      const seqs = acks.map((ack) => ack.message.seq);
      assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b));
      await client.upgraded();
      client.close();
    }
  });
});
