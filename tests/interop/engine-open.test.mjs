// Engine.IO: opening a session, and every way of asking for one wrongly. G-17, N47.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { application, ours, witness } from '../support/echo.mjs';
import { KEYS, openSocket, poll, Polling, RawSocket } from '../support/raw.mjs';

let app;
let other;
before(async () => { app = await application(); other = await witness(app); });
after(async () => { other?.close(); await app?.stop(); });

for (const path of ['/engine.io/', '/socket.io/']) {
  describe(path, () => {
    test('polling opens a session with exactly the five keys', async () => {
      const answer = await poll(app.base, path);
      assert.equal(answer.status, 200);
      assert.match(answer.headers['content-type'], /^text\/plain; ?charset=utf-8$/i);
      assert.equal(answer.text[0], '0');
      const opened = JSON.parse(answer.text.slice(1));
      assert.deepEqual(Object.keys(opened).sort(), KEYS);
      assert.equal(typeof opened.sid, 'string');
      assert.deepEqual(opened.upgrades, ['websocket']);
      assert.equal(opened.pingInterval, 300);
      assert.equal(opened.pingTimeout, 200);
      assert.equal(opened.maxPayload, 1_000_000);
    });

    test('a websocket opens a session with exactly the five keys and nothing to upgrade to', async () => {
      const socket = await openSocket(app.base, path);
      assert.deepEqual(Object.keys(socket.opened).sort(), KEYS);
      assert.deepEqual(socket.opened.upgrades, []);
      assert.equal(socket.opened.pingInterval, 300);
      assert.equal(socket.opened.pingTimeout, 200);
      assert.equal(socket.opened.maxPayload, 1_000_000);
      socket.close();
    });

    test('session ids are all different and long', async () => {
      const sids = await Promise.all(Array.from({ length: 20 }, async () => (await Polling.open(app.base, path)).sid));
      assert.equal(new Set(sids).size, 20);
      for (const sid of sids) assert.ok(sid.length >= 20, sid);
    });

    test('cache busters and b64 are ignored', async () => {
      const answer = await poll(app.base, path, { query: { t: 'Oabc12', b64: '1', unknown: 'x%2' } });
      assert.equal(answer.status, 200);
      assert.equal(answer.text[0], '0');
    });

    const wrong = [
      ['no EIO', { query: { EIO: undefined } }, 5],
      ['EIO=abc', { query: { EIO: 'abc' } }, 5],
      ['EIO=3', { query: { EIO: '3' } }, 5],
      ['EIO=5', { query: { EIO: '5' } }, 5],
      ['no transport', { query: { transport: undefined } }, 0],
      ['transport=abc', { query: { transport: 'abc' } }, 0],
      ['transport=__proto__', { query: { transport: '__proto__' } }, 0],
      ['an unknown sid', { query: { sid: 'never-issued' } }, 1],
      ['an unknown sid of our form', { query: { sid: '0.AAAAAAAAAAAAAAAAAAAAAA' } }, 1],
      ['a sid of a gateway that is not there', { query: { sid: '99999.AAAAAAAAAAAAAAAAAAAAAA' } }, 1],
      ['a sid that is only a number', { query: { sid: '0.' } }, 1],
      ['a sid of 8 KB', { query: { sid: '0.' + 'A'.repeat(8_000) } }, 1],
      ['a POST to an unknown sid', { method: 'POST', query: { sid: '0.AAAAAAAAAAAAAAAAAAAAAA' }, body: '4x' }, 1],
      ['a POST without sid', { method: 'POST', body: '4x' }, 2],
      ['an empty POST without sid', { method: 'POST' }, 2],
      ['a PUT without sid', { method: 'PUT' }, 2],
      ['a DELETE without sid', { method: 'DELETE' }, 2],
    ];
    for (const [name, options, code] of wrong) {
      test(`N47 ${name} is refused with code ${code}`, async () => {
        const answer = await poll(app.base, path, options);
        assert.equal(answer.status, 400);
        assert.match(answer.headers['content-type'], /^application\/json/);
        assert.equal(answer.json?.code, code, answer.text);
        assert.equal(typeof answer.json.message, 'string');
        await other.works();
      });
    }

    for (const [name, query] of [
      ['no EIO', { EIO: undefined }], ['EIO=abc', { EIO: 'abc' }], ['EIO=3', { EIO: '3' }],
      ['no transport', { transport: undefined }], ['transport=abc', { transport: 'abc' }],
      ['an unknown sid', { sid: 'never-issued' }], ['transport=polling', { transport: 'polling' }],
    ]) {
      test(`N47 a websocket with ${name} is refused or closed without a packet`, async () => {
        await new RawSocket(app.base, path, { query }).refused();
        await other.works();
      });
    }

    test('a polling request with the sid of a websocket session is refused and disturbs nothing', async () => {
      const socket = await openSocket(app.base, path);
      const get = await poll(app.base, path, { query: { sid: socket.opened.sid } });
      assert.equal(get.status, 400);
      const post = await poll(app.base, path, { method: 'POST', query: { sid: socket.opened.sid }, body: '4x' });
      assert.equal(post.status, 400);
      socket.send(path === '/engine.io/' ? '4x' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    test('a second websocket with the sid of a websocket session is closed and disturbs nothing', ours, async () => {
      const socket = await openSocket(app.base, path);
      await new RawSocket(app.base, path, { query: { sid: socket.opened.sid } }).refused();
      socket.send(path === '/engine.io/' ? '4x' : '40');
      assert.equal((await socket.next())[0], '4');
      socket.close();
    });

    test('OPTIONS is answered for browsers on other origins', async () => {
      const answer = await poll(app.base, path, {
        method: 'OPTIONS',
        headers: { origin: 'http://elsewhere.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
      });
      assert.ok([200, 204].includes(answer.status), `${answer.status}`);
      assert.ok(['*', 'http://elsewhere.example'].includes(answer.headers['access-control-allow-origin']));
      const opened = await poll(app.base, path, { headers: { origin: 'http://elsewhere.example' } });
      assert.ok(['*', 'http://elsewhere.example'].includes(opened.headers['access-control-allow-origin']));
    });

    test('compression of frames is not negotiated', ours, async () => {
      const socket = await openSocket(app.base, path, { perMessageDeflate: true });
      assert.equal(socket.ws.extensions, '');
      socket.close();
    });
  });
}

test('HTTP paths that are neither are not sessions', ours, async () => {
  for (const path of ['/', '/engine.iox/', '/socket.iox/', '/other']) {
    const answer = await poll(app.base, path);
    assert.notEqual(answer.text[0], '0');
  }
});
