// SIGTERM: clients are told, everything under way is answered, the process ends with 0, and the next start goes on. E-056.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people, wholeHistory } from '../support/people.mjs';
import { openSocket } from '../support/raw.mjs';
import { Rest } from '../support/rest.mjs';
import { startServer } from '../support/server.mjs';

const text = (conversationId, content) => ({ conversationId, content, type: 'text' });

describe('SIGTERM', { concurrency: 4 }, () => {
  test('E-056 server:draining, then 1012, then exit code 0; the second start works', async () => {
    const server = await startServer();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const a = await ann.connect();
    const raw = await openSocket(server.baseUrl);
    raw.send(`40${JSON.stringify({ token: bob.token })}`);
    await raw.next();
    await a.ok('chat:message', text(talk.id, 'before'));
    const stopping = server.stop();
    const event = await a.next('server:draining');
    assert.deepEqual(Object.keys(event), ['reconnectAfterMs']);
    assert.ok(event.reconnectAfterMs > 0);
    const packet = await raw.until((one) => one.includes('server:draining'));
    assert.match(packet, /^42\["server:draining",\{"reconnectAfterMs":\d+\},"[0-9a-z]+"\]$/);
    assert.equal(await raw.ended(10_000), 1012);
    assert.equal(await a.next('$disconnect'), 'transport close');
    assert.deepEqual(await stopping, { code: 0, signal: null });
    await server.start();
    assert.equal((await wholeHistory(ann, talk.id)).length, 1);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    ann.close();
  });

  test('E-056 polling clients are told too', async () => {
    const server = await startServer();
    const [ann] = await people(server, 'ann');
    const a = await ann.connect({ transports: ['polling'] });
    await sleep(100);
    const stopping = server.stop();
    await a.next('server:draining');
    await a.next('$disconnect');
    assert.deepEqual(await stopping, { code: 0, signal: null });
  });

  test('sends under way are answered or unknown, never answered and lost', async () => {
    const server = await startServer();
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    const a = await ann.connect({ transports: ['websocket'] });
    const acks = Array.from({ length: 300 }, (_, n) => a.socket.timeout(8_000).emitWithAck('chat:message', text(talk.id, `m${n}`)).catch(() => null));
    await sleep(15);
    const stopping = server.stop();
    const acked = (await Promise.all(acks)).filter((ack) => ack?.ok).map((ack) => ack.message.id);
    assert.equal((await stopping).code, 0);
    await server.start();
    const stored = new Set((await wholeHistory(bob, talk.id)).map(({ id }) => id));
    assert.deepEqual(acked.filter((id) => !stored.has(id)), []);
    ann.close();
    await server.stop();
  });

  test('it ends in time with connections that do nothing, half requests, and a client that never reads', async () => {
    const server = await startServer();
    const [ann] = await people(server, 'ann');
    const raw = await openSocket(server.baseUrl);
    raw.send(`40${JSON.stringify({ token: ann.token })}`);
    await raw.next();
    raw.ws._socket.pause();
    const idle = await openSocket(server.baseUrl);
    const { rawHttp } = await import('../support/rest.mjs');
    const half = rawHttp(server.baseUrl, 'POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{', 15_000);
    await sleep(100);
    const begun = Date.now();
    assert.deepEqual(await server.stop(15_000), { code: 0, signal: null });
    assert.ok(Date.now() - begun < 12_000, `${Date.now() - begun} ms`);
    raw.close();
    idle.close();
    await half;
  });

  test('while it stops, new requests are refused and not kept waiting', async () => {
    const server = await startServer();
    const [ann] = await people(server, 'ann');
    await ann.connect();
    const stopping = server.stop();
    for (let n = 0; n < 20; n += 1) {
      await new Rest(server.baseUrl).get('/api/health').catch(() => null);
      await sleep(10);
    }
    assert.equal((await stopping).code, 0);
    ann.close();
  });

  test('a second SIGTERM does no harm', async () => {
    const server = await startServer();
    const stopping = server.stop();
    server.process.child.kill('SIGTERM');
    const { code, signal } = await stopping;
    assert.ok(code === 0 || signal === 'SIGTERM', `${code} ${signal}`);
    await server.start();
    await server.stop();
  });

  test('tokens and sessions go on after a restart with generated secrets', async () => {
    const server = await startServer();
    const [ann] = await people(server, 'ann');
    await server.stop();
    await server.start();
    assert.equal((await ann.rest.get('/api/auth/me')).status, 200);
    assert.equal((await new Rest(server.baseUrl).post('/api/auth/refresh', { refreshToken: ann.refreshToken })).status, 200);
    await server.stop();
  });
});
