// G-07 across crashes: what was acknowledged is found again.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, group, people, send, unique } from '../support/people.mjs';
import { freshSecret, startServer } from '../support/server.mjs';

let server;
after(() => server?.stop());

describe('kill -9', () => {
  test('right after sends: all of them are found within seconds, whoever is awake', async () => {
    server = await startServer({ env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() } });
    const [ann, bob] = await people(server, 'ann', 'bob');
    const rooms = [await direct(ann, bob), await group(ann, [bob]), await group(bob, [ann])];
    const word = unique('crash');
    for (let round = 1; round <= 3; round += 1) {
      await Promise.all(rooms.flatMap(({ id }) => [1, 2, 3].map((n) => send(ann, id, `${word} ${round}-${n}`))));
      await server.kill();
      await server.start();
      const restarted = Date.now();
      for (;;) {
        const answer = await bob.rest.get(`/api/chats/search?q=${word}&limit=50`);
        assert.equal(answer.status, 200, answer.text);
        if (answer.body.hits.length === round * 9) break;
        assert.ok(Date.now() - restarted < 15_000, `${answer.body.hits.length} of ${round * 9}`);
        await sleep(200);
      }
    }
  });
});
