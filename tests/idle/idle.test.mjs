// Stock clients that do nothing at all stay connected, whichever host they are on and however it keeps them alive.
// Guarantees 5. IDLE_MINUTES sets for how long (10).
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundle } from '../../edge/cloudflare/local/edge.mjs';
import * as own from '../support/hosts/own.mjs';
import * as workerd from '../support/hosts/workerd.mjs';
import { group, people } from '../support/people.mjs';
import { binary, freshSecret } from '../support/server.mjs';
import { TRANSPORTS } from '../support/sockets.mjs';

const MINUTES = Number(process.env.IDLE_MINUTES ?? 10);

const HOSTS = {
  own: { host: own, skip: existsSync(binary) ? false : 'the binary of our own host is not built' },
  workerd: { host: workerd, skip: existsSync(join(bundle, 'index.js')) ? false : 'the bundle of the Worker is not built' },
};

describe('idle', { concurrency: true }, () => {
  for (const [name, { host, skip }] of Object.entries(HOSTS)) {
    test(`${name}: stock clients are idle for ${MINUTES} minutes without a disconnect`, { skip, timeout: (MINUTES + 2) * 60_000 }, async (t) => {
      const server = await host.start({ env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() } });
      const transports = Object.entries(TRANSPORTS);
      const everybody = await people(server, ...transports.map((_, n) => `idler${n}`));
      const crew = await group(everybody[0], everybody.slice(1));
      const clients = await Promise.all(everybody.map((one, n) => one.connect(transports[n][1])));
      const pings = clients.map((client) => {
        const seen = { count: 0 };
        client.socket.io.on('ping', () => { seen.count += 1; });
        return seen;
      });
      await Promise.all(clients.map((client) => client.resume({ [crew.id]: 0 })));
      // The one that began on polling has moved to a websocket by then.
      await sleep(MINUTES * 60_000);
      for (const [n, client] of clients.entries()) {
        const [transport] = transports[n];
        assert.deepEqual(client.all('$disconnect'), [], transport);
        assert.equal(client.connects, 1, transport);
        assert.ok(client.socket.connected, transport);
      }
      t.diagnostic(`pings: ${clients.map((client, n) => `${transports[n][0]} (${client.transport}) ${pings[n].count}`).join(', ')}`);
      // Still there: each is heard by all the others, once.
      for (const [n, client] of clients.entries()) {
        await client.ok('chat:message', { conversationId: crew.id, content: `after ${n}`, type: 'text' });
      }
      for (const client of clients) {
        await client.count('chat:message', clients.length);
        assert.deepEqual(client.seqs(crew.id), [1, 2, 3]);
        assert.deepEqual(client.all('$disconnect'), []);
      }
      everybody.forEach((one) => one.close());
      await server.stop();
    });
  }
});
