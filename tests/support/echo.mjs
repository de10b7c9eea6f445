// The protocol test application (/engine.io/ echoes, /socket.io/ has two namespaces): where it is, and a witness.
import assert from 'node:assert/strict';
import { startServer } from './server.mjs';
import { openSocket, Polling } from './raw.mjs';

/** Whether the cases run against another implementation, where limits that are ours do not hold. */
export const foreign = process.env.PROTOCOL_IMPLEMENTATION === 'other';

/** Options of `test` for rules that only our implementation promises. */
export const ours = foreign ? { skip: 'a bound of our own, not of the protocols' } : {};

/** The test application at PROTOCOL_URL, or one of a fresh server. */
export async function application() {
  if (process.env.PROTOCOL_URL) {
    return { base: process.env.PROTOCOL_URL.replace(/\/$/, ''), alive: () => true, stop: async () => {} };
  }
  const server = await startServer({ conformance: true });
  return { base: server.conformanceUrl, alive: () => server.alive(), stop: () => server.stop() };
}

/** A websocket behind CONNECT to `/`, the answer and the auth event taken. */
export async function namespace(base, options = {}, connect = '40') {
  const socket = await openSocket(base, '/socket.io/', options);
  socket.send(connect);
  const [answer] = await socket.take(2);
  assert.match(answer, /^40\{"sid":"[^"]+"\}$/);
  return socket;
}

/** A polling session behind CONNECT to `/`. */
export async function pollingNamespace(base) {
  const session = await Polling.open(base, '/socket.io/');
  await session.posted('40');
  await session.take(2);
  return session;
}

/** Another connected client that must not notice what happens to the first. */
export async function witness(app) {
  const socket = await namespace(app.base);
  let id = 0;
  return {
    /** The process lives, this client still has its connection, and a new one can come. */
    async works() {
      assert.ok(app.alive(), 'the process has ended');
      id += 1;
      socket.send(`42${id}["message-with-ack","still here"]`);
      assert.equal(await socket.next(), `43${id}["still here"]`);
      const fresh = await openSocket(app.base, '/engine.io/');
      fresh.send('4new');
      assert.equal(await fresh.next(), '4new');
      fresh.close();
    },
    close: () => socket.close(),
  };
}
