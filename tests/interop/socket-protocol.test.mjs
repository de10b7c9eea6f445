// Socket.IO v5: connecting, namespaces, events, acks and binary, and the framing details that are easy to get wrong.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { application, foreign, namespace, ours, pollingNamespace, witness } from '../support/echo.mjs';
import { openSocket, Polling } from '../support/raw.mjs';

let app;
let other;
before(async () => { app = await application(); other = await witness(app); });
after(async () => { other?.close(); await app?.stop(); });

const hostile = (name, options, fn) => {
  if (typeof options === 'function') return hostile(name, {}, options);
  return test(name, options, async (t) => { await fn(t); await other.works(); });
};

const holder = (num) => `{"_placeholder":true,"num":${JSON.stringify(num)}}`;
/** Echoes once, so that the connection is known to live. */
const lives = async (socket) => {
  socket.send('42["message","alive"]');
  assert.equal(await socket.next(), '42["message-back","alive"]');
};

describe('connect', () => {
  for (const [name, packet, answer, event] of [
    ['the main namespace', '40', /^40(\{.*\})$/, '42["auth",{}]'],
    ['the main namespace with a payload', '40{"token":"123"}', /^40(\{.*\})$/, '42["auth",{"token":"123"}]'],
    ['a custom namespace', '40/custom,', /^40\/custom,(\{.*\})$/, '42/custom,["auth",{}]'],
    ['a custom namespace without comma', '40/custom', /^40\/custom,(\{.*\})$/, '42/custom,["auth",{}]'],
    ['a custom namespace with a payload', '40/custom,{"token":"abc"}', /^40\/custom,(\{.*\})$/, '42/custom,["auth",{"token":"abc"}]'],
    ['the main namespace by its name', '40/,', /^40(\{.*\})$/, '42["auth",{}]'],
  ]) {
    test(`${name}: exactly a sid, and the auth event in a frame of its own`, async () => {
      const socket = await openSocket(app.base);
      socket.send(packet);
      const [, content] = answer.exec(await socket.next()) ?? [];
      const handshake = JSON.parse(content);
      assert.deepEqual(Object.keys(handshake), ['sid']);
      assert.equal(typeof handshake.sid, 'string');
      assert.notEqual(handshake.sid, socket.opened.sid);
      assert.equal(await socket.next(), event);
      socket.close();
    });
  }

  test('sids of two namespaces of one connection differ', async () => {
    const socket = await namespace(app.base);
    socket.send('40/custom,');
    const [first] = await socket.take(2);
    assert.match(first, /^40\/custom,\{"sid":"[^"]+"\}$/);
    socket.close();
  });

  for (const [packet, answer] of [
    ['40/random', '44/random,{"message":"Invalid namespace"}'],
    ['40/random,', '44/random,{"message":"Invalid namespace"}'],
    ['40/random,{"token":"x"}', '44/random,{"message":"Invalid namespace"}'],
    ['40/admin?x=1,', '44/admin?x=1,{"message":"Invalid namespace"}'],
    ['40/custom?x=1,{"a":[1,",",2]}', '44/custom?x=1,{"message":"Invalid namespace"}'],
    ['40/__proto__,', '44/__proto__,{"message":"Invalid namespace"}'],
  ]) {
    hostile(`N52 ${packet} is an invalid namespace, and the connection goes on`, foreign && packet.includes('?') ? { skip: 'answers without the query' } : {}, async () => {
      const socket = await openSocket(app.base);
      socket.send(packet);
      assert.equal(await socket.next(), answer);
      socket.send('40');
      assert.match(await socket.next(), /^40\{/);
      assert.equal(await socket.next(), '42["auth",{}]');
      await lives(socket);
      socket.close();
    });
  }

  for (const packet of ['40"x"', '40[1]', '40null', '40true', '40{', '40{"a":}', '40{}x', '4abc', '4', '49', '4-', '47["x"]']) {
    const own = ['40null', '4', '40{}x'].includes(packet);
    hostile(`N52 ${packet} as the first packet closes the connection`, own ? ours : {}, async () => {
      const socket = await openSocket(app.base);
      socket.send(packet);
      await socket.ended();
      assert.ok(!socket.inbox.some((answer) => answer[0] === '4'), `${socket.inbox}`);
    });
  }

  for (const packet of ['42["message",1]', '421["message-with-ack",1]', '430[1]', '41', '44{"message":"x"}', '42/custom,["message",1]', '451-["message",{"_placeholder":true,"num":0}]']) {
    // An event with binary closes when it is complete or at once; both are in time.
    hostile(`N52 ${packet} before CONNECT closes the connection`, async () => {
      const socket = await openSocket(app.base);
      socket.send(packet);
      if (packet.startsWith('45')) socket.send(Buffer.from([1]));
      await socket.ended(900);
    });
  }

  hostile('N52 a second CONNECT closes the connection', async () => {
    const socket = await namespace(app.base);
    socket.send('40');
    await socket.ended();
  });

  hostile('a CONNECT_ERROR from the client closes the connection', async () => {
    const socket = await namespace(app.base);
    socket.send('44{"message":"x"}');
    await socket.ended();
  });

  hostile('an event for a namespace that is not connected closes the connection', async () => {
    const socket = await namespace(app.base);
    socket.send('42/custom,["message",1]');
    await socket.ended();
  });

  hostile('two namespaces at once, then one leaves', async () => {
    const socket = await namespace(app.base);
    socket.send('40/custom');
    await socket.take(2);
    socket.send('41/custom', '42["message","to main"]');
    assert.equal(await socket.next(), '42["message-back","to main"]');
    socket.send('40/custom,{"again":1}');
    assert.match(await socket.next(), /^40\/custom,\{"sid":/);
    assert.equal(await socket.next(), '42/custom,["auth",{"again":1}]');
    socket.send('41');
    socket.send('41/custom,');
    await sleep(1_200);
    assert.equal(socket.code, undefined, 'the transport stays open when the last namespace leaves');
    socket.send('40');
    assert.match(await socket.next(), /^40\{/);
    socket.close();
  });

  hostile('an event after leaving the namespace closes the connection', async () => {
    const socket = await namespace(app.base);
    socket.send('41');
    await sleep(30);
    socket.send('42["message",1]');
    await socket.ended();
  });

  test('after 41 the server still pings', async () => {
    const socket = await namespace(app.base, { pong: false, pings: true });
    socket.send('41');
    assert.equal(await socket.next(), '2');
    socket.close();
  });

  test('events sent right behind CONNECT, before its answer, are not lost', ours, async () => {
    // The reference closes here when its connect is asynchronous; our answer is in the same turn.
    const socket = await openSocket(app.base);
    socket.send('40', '42["message",1]');
    const packets = await Promise.race([socket.take(3), socket.ended()]);
    if (Array.isArray(packets)) assert.equal(packets[2], '42["message-back",1]');
    socket.close();
  });

  test('over polling', async () => {
    const session = await Polling.open(app.base);
    await session.posted('40');
    const [answer, auth] = await session.take(2);
    assert.match(answer, /^40\{"sid":"[^"]+"\}$/);
    assert.equal(auth, '42["auth",{}]');
    await session.posted('42["message",1]\x1e42["message",2]\x1e4212["message-with-ack",3]');
    assert.deepEqual(await session.take(3), ['42["message-back",1]', '42["message-back",2]', '4312[3]']);
  });
});

describe('events and acks', () => {
  for (const [sent, answer] of [
    ['42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]'],
    ['42["message"]', '42["message-back"]'],
    ['42["message",null,false,"",[],{}]', '42["message-back",null,false,"",[],{}]'],
    ['42["message","\u00e9\u20ac\u{1f44d}\u2028"]', '42["message-back","\u00e9\u20ac\u{1f44d}\u2028"]'],
    ['42/,["message",1]', '42["message-back",1]'],
    ['42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]'],
    ['420["message-with-ack"]', '430[]'],
    ['42999999999999999["message-with-ack",1]', '43999999999999999[1]'],
    [`42["message",${holder(0)}]`, `42["message-back",${holder(0)}]`],
    [`427["message-with-ack",${holder(-1)},${holder('x')}]`, `437[${holder(-1)},${holder('x')}]`],
    ['42["message","a,b/c-1[2]"]', '42["message-back","a,b/c-1[2]"]'],
    ['42["message",-0.5,1e3,9007199254740991]', /^42\["message-back",-0\.5,1000(\.0)?,9007199254740991\]$/],
    ['42["message","\\u001e\\u0000\\\\\\""]', /^42\["message-back","\\u001[eE]\\u0000\\\\\\""\]$/],
  ]) {
    test(`${sent}`, async () => {
      const socket = await namespace(app.base);
      socket.send(sent);
      const got = await socket.next();
      if (answer instanceof RegExp) assert.match(got, answer); else assert.equal(got, answer);
      socket.close();
    });
  }

  test('an event nobody listens to is ignored', async () => {
    const socket = await namespace(app.base);
    socket.send('42["unknown",1]', '425["unknown",1]', '42["error",{"code":"X"}]');
    await lives(socket);
    socket.close();
  });

  test('N52 acks for ids never issued are ignored, also twice', async () => {
    const socket = await namespace(app.base);
    socket.send('43999[1]', '43999[1]', '430[]', '461-7[{"_placeholder":true,"num":0}]', Buffer.from([1]));
    await lives(socket);
    socket.close();
  });

  test('the custom namespace only says auth', async () => {
    const socket = await openSocket(app.base);
    socket.send('40/custom');
    await socket.take(2);
    socket.send('42/custom,["message",1]', '42/custom,3["message-with-ack",1]');
    await socket.silent(200);
    assert.equal(socket.code, undefined);
    socket.close();
  });

  for (const [packet, own] of [
    ['4abc'], ['42{}'], ['42abc["message-with-ack",1]'], ['42[]'], ['42'], ['42["message"', true], ['42"message"'], ['42null'], ['42[null]'], ['42[{}]'], ['42[["message"]]'],
    ['42[true]'], ['42["connect"]'], ['42["connect_error",{}]'], ['42["disconnect","x"]'], ['42["disconnecting"]'], ['42["newListener",1]'], ['42["removeListener",1]'],
    ['42-1["message-with-ack",1]'], ['421.5["message-with-ack",1]'], ['42 1["message-with-ack",1]', true], ['4212'], ['43'], ['431'], ['431{}'], ['43x[]'],
    ['42["message",1]x'], ['42["message",]'], ["42['message']"], ['42["message",NaN]'], ['42["message",1e999]', true], ['42/custom'], ['48["message"]'],
    ['42[7]', true], ['4299999999999999999999["message-with-ack",1]', true], [`42["${'e'.repeat(129)}",1]`, true],
    ['45["message"]'], ['45-["message"]'], ['45x-["message"]'], ['450-["message",1]'], ['45-1-["message",1]'], ['451.5-["message",1]'], ['46["x"]'], ['460-1[1]'],
    ['451["message",{"_placeholder":true,"num":0}]'],
  ]) {
    const closesAtReference = !['42', '4212', '43', '431', '46["x"]'].includes(packet);
    hostile(`${packet.length > 60 ? `${packet.slice(0, 60)}...` : packet} closes the connection`, own || !closesAtReference ? ours : {}, async () => {
      const socket = await namespace(app.base);
      socket.send(packet);
      await socket.ended();
      assert.deepEqual(socket.inbox, []);
    });
  }

  hostile('N52 an ack id of 1 MB', ours, async () => {
    const socket = await namespace(app.base);
    socket.send(`42${'9'.repeat(999_000)}["message-with-ack",1]`);
    await socket.ended();
  });

  hostile('N52 JSON nested 10,000 levels deep closes only this connection', ours, async () => {
    for (const [open, close] of [['[', ']'], ['{"a":', '}']]) {
      const socket = await namespace(app.base);
      socket.send(`42["message",${open.repeat(10_000)}1${close.repeat(10_000)}]`);
      await socket.ended();
      await other.works();
    }
  });

  hostile('N52 JSON nested 10,000 levels deep that is never closed', ours, async () => {
    for (const packet of [`42${'['.repeat(10_000)}`, `42["message",${'{"a":'.repeat(10_000)}`, `40${'{"a":'.repeat(10_000)}`, `43${'['.repeat(10_000)}`]) {
      const socket = await namespace(app.base);
      socket.send(packet);
      await socket.ended();
    }
  });

  test('JSON nested 20 levels deep comes back', async () => {
    const socket = await namespace(app.base);
    const value = `${'['.repeat(20)}1${']'.repeat(20)}`;
    socket.send(`42["message",${value}]`);
    assert.equal(await socket.next(), `42["message-back",${value}]`);
    socket.close();
  });

  hostile('a namespace of 100 KB is refused or closes, nothing else', async () => {
    const socket = await namespace(app.base);
    socket.send(`40/${'n'.repeat(100_000)},`);
    await sleep(200);
    socket.close();
  });

  hostile('10,000 namespaces on one connection', async () => {
    const socket = await namespace(app.base);
    for (let n = 0; n < 10_000 && socket.ws.readyState === 1; n += 1) socket.send(`40/x${n},`);
    await sleep(300);
    socket.close();
  });

  test('1,000 events with acks come back in order', async () => {
    const socket = await namespace(app.base);
    for (let n = 0; n < 1_000; n += 1) socket.send(n % 3 ? `42["message",${n}]` : `42${n}["message-with-ack",${n}]`);
    const answers = await socket.take(1_000);
    assert.deepEqual(answers, Array.from({ length: 1_000 }, (_, n) => (n % 3 ? `42["message-back",${n}]` : `43${n}[${n}]`)));
    socket.close();
  });
});

describe('binary', () => {
  const [one, two] = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])];

  test('an event with two attachments', async () => {
    const socket = await namespace(app.base);
    socket.send(`452-["message",${holder(0)},${holder(1)}]`, one, two);
    assert.deepEqual(await socket.take(3), [`452-["message-back",${holder(0)},${holder(1)}]`, one, two]);
    socket.close();
  });

  test('an ack with two attachments', async () => {
    const socket = await namespace(app.base);
    socket.send(`452-789["message-with-ack",${holder(0)},${holder(1)}]`, one, two);
    assert.deepEqual(await socket.take(3), [`462-789[${holder(0)},${holder(1)}]`, one, two]);
    socket.close();
  });

  test('deep inside objects and arrays', async () => {
    const socket = await namespace(app.base);
    socket.send(`452-["message",{"a":[{"b":${holder(1)}}],"c":${holder(0)}},"end"]`, one, two);
    const [header, ...frames] = await socket.take(3);
    const event = JSON.parse(header.replace(/^452-/, ''));
    assert.equal(event[0], 'message-back');
    assert.deepEqual(frames[event[1].a[0].b.num], two);
    assert.deepEqual(frames[event[1].c.num], one);
    assert.equal(event[2], 'end');
    socket.close();
  });

  test('empty attachments, and ten of them', async () => {
    const socket = await namespace(app.base);
    const sent = Array.from({ length: 10 }, (_, n) => Buffer.alloc(n));
    socket.send(`4510-["message",${sent.map((_, n) => holder(n)).join()}]`, ...sent);
    assert.deepEqual((await socket.take(11)).slice(1), sent);
    socket.close();
  });

  test('over polling, in one body and in several', async () => {
    const session = await pollingNamespace(app.base);
    const header = `452-["message",${holder(0)},${holder(1)}]`;
    const answer = [`452-["message-back",${holder(0)},${holder(1)}]`, `b${one.toString('base64')}`, `b${two.toString('base64')}`];
    await session.posted([header, answer[1], answer[2]].join('\x1e'));
    assert.deepEqual(await session.take(3), answer);
    for (const packet of [header, answer[1], answer[2]]) await session.posted(packet);
    assert.deepEqual(await session.take(3), answer);
  });

  test('a ping between header and attachments, both ways', async () => {
    const socket = await namespace(app.base, { pong: false, pings: true });
    socket.send(`452-["message",${holder(0)},${holder(1)}]`, one);
    assert.equal(await socket.next(), '2');
    socket.send('3', two);
    assert.deepEqual(await socket.take(3), [`452-["message-back",${holder(0)},${holder(1)}]`, one, two]);
    socket.close();
  });

  test('header over polling, attachments after the upgrade', async () => {
    const session = await pollingNamespace(app.base);
    await session.posted(`451-["message",${holder(0)}]`);
    const socket = await session.upgrade();
    socket.send(one);
    assert.deepEqual(await socket.take(2), [`451-["message-back",${holder(0)}]`, one]);
    socket.close();
  });

  test('a header without a placeholder, but with its frame', async () => {
    const socket = await namespace(app.base);
    socket.send('451-["message","none"]', one);
    const answer = await Promise.race([socket.next(), socket.ended()]);
    if (typeof answer === 'string' && answer.startsWith('45')) assert.deepEqual(await socket.next(), one);
    else if (typeof answer === 'string') assert.equal(answer, '42["message-back","none"]');
    socket.close();
  });

  test('one attachment named twice', async () => {
    const socket = await namespace(app.base);
    socket.send(`451-["message",${holder(0)},${holder(0)}]`, one);
    const first = await Promise.race([socket.next(), socket.ended()]);
    if (typeof first === 'string') {
      const count = Number(/^45(\d)-/.exec(first)[1]);
      assert.deepEqual(await socket.take(count), Array(count).fill(one));
    }
    socket.close();
  });

  hostile('N49 eleven attachments close the connection', async () => {
    const socket = await namespace(app.base);
    socket.send(`4511-["message",${Array.from({ length: 11 }, (_, n) => holder(n)).join()}]`);
    await socket.ended();
  });

  for (const packet of ['4559999999999999999999-["message",1]', '451000000-["message",1]', '4599999999999999999999-["x"]', '45100000000000000000000-1["x"]', '46999999999-1[1]']) {
    hostile(`N49 ${packet} is a parse error before anything is allocated`, async () => {
      const socket = await namespace(app.base);
      socket.send(packet);
      await socket.ended();
    });
  }

  for (const [name, value] of [
    ['a string', '{"_placeholder":true,"num":"0"}'], ['negative', holder(-1)], ['too large', holder(1)], ['a fraction', '{"_placeholder":true,"num":0.5}'], ['missing', '{"_placeholder":true}'],
    ['null', holder(null)], ['__proto__', holder('__proto__')], ['huge', '{"_placeholder":true,"num":18446744073709551616}'], ['an object', holder({})],
  ]) {
    hostile(`N50 a placeholder whose num is ${name} closes the connection`, name === 'a fraction' ? ours : {}, async () => {
      const socket = await namespace(app.base);
      socket.send(`451-["message",${value}]`, one);
      await socket.ended();
    });
  }

  for (const [name, packets] of [
    ['a text event between header and attachment', [`451-["message",${holder(0)}]`, '42["message",1]']],
    ['an ack between header and attachment', [`451-["message",${holder(0)}]`, '431[1]']],
    ['a second header between header and attachment', [`451-["message",${holder(0)}]`, `451-["message",${holder(0)}]`]],
    ['a disconnect between header and attachment', [`451-["message",${holder(0)}]`, '41']],
    ['a binary frame nobody announced', [one]],
    ['one binary frame too many', [`451-["message",${holder(0)}]`, one, two]],
    ['a placeholder in the place of the name', [`451-[${holder(0)}]`, one]],
  ]) {
    hostile(`${name} closes the connection`, name.includes('in the place') ? ours : {}, async () => {
      const socket = await namespace(app.base);
      socket.send(...packets);
      await socket.ended();
    });
  }

  hostile('a binary frame before CONNECT closes the connection', async () => {
    const socket = await openSocket(app.base);
    socket.send(one);
    await socket.ended(900);
  });

  hostile('a header whose attachments never come is only a waste of its own connection', async () => {
    const socket = await namespace(app.base);
    socket.send(`4510-["message",${Array.from({ length: 10 }, (_, n) => holder(n)).join()}]`);
    for (let n = 0; n < 9; n += 1) socket.send(Buffer.alloc(900_000));
    await sleep(300);
    socket.close();
  });
});
