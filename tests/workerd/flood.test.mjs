// Strangers at the Worker's door wake nothing but the fixed set of gateways: no object is made for them, nor read. N68.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from '../support/hosts/workerd.mjs';
import { Meter } from '../support/meter.mjs';
import { person } from '../support/people.mjs';
import { poll, RawSocket } from '../support/raw.mjs';
import { freshSecret } from '../support/server.mjs';

const NOBODY = '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d';

test('N68 a flood of anonymous upgrades touches nothing but the gateways', { timeout: 120_000 }, async () => {
  const server = await start({
    env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret(), GATEWAYS: '2' },
    bindings: { METER: 'on', SLEEP: undefined },
  });
  const meter = new Meter(server);
  const said = ['40', '40{"token":"nonsense"}', `42["chat:join","${NOBODY}"]`, '40{"dialect":"chatcall"}', 'nonsense', `40{"pid":"0.${'A'.repeat(22)}.${NOBODY}","offset":"x"}`];
  const sockets = Array.from({ length: 200 }, () => new RawSocket(server.baseUrl));
  await Promise.all(sockets.map((socket) => Promise.race([socket.open, socket.closed])));
  sockets.forEach((socket, n) => {
    if (socket.ws.readyState !== 1) return;
    socket.send(said[n % said.length]);
    if (n % 3 === 0) socket.send(`42${n}["sync:resume",{"cursors":{"${NOBODY}":0}}]`);
  });
  for (let n = 0; n < 30; n += 1) await poll(server.baseUrl, '/socket.io/', { query: n % 2 ? { sid: `${n}.${'A'.repeat(22)}` } : {} });
  await meter.reached(100, 'frame', 'gateway', 10_000);
  await sleep(500);
  const touched = () => [...new Set(meter.events().map(({ kind, name }) => `${kind} ${name}`))].sort();
  assert.deepEqual(touched(), ['gateway gw-0', 'gateway gw-1']);
  sockets.forEach((socket) => socket.close());

  // With a token there is more.
  const ann = await person(server, 'ann');
  const client = await ann.connect({ transports: ['websocket'] });
  await client.call('presence:getOnline');
  await sleep(500);
  assert.ok(touched().some((name) => name.startsWith('user ')), `${touched()}`);
  client.close();
  await server.stop();
});
