// What a person changes reaches the conversations, whenever the process is killed. G-02, G-03, G-20: kill -9.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people, unique } from '../support/people.mjs';
import { startServer } from '../support/server.mjs';

/** Runs `act`, kills the server some milliseconds later, and starts it again. */
async function killedAfter(server, ms, who, act) {
  const acting = Promise.resolve(act()).catch(() => null);
  await sleep(ms);
  await server.kill();
  await acting;
  await server.start();
  for (const { rest } of who) rest.baseUrl = server.baseUrl;
}

const eventually = async (what, ms = 10_000) => {
  for (const end = Date.now() + ms; ; await sleep(100)) {
    const wrong = await what();
    if (!wrong) return;
    if (Date.now() > end) assert.fail(wrong);
  }
};

test('G-03 blocks and their ends are the same in the list and in the conversation after kill -9', async () => {
  const server = await startServer();
  const [ann, bob] = await people(server, 'ann', 'bob');
  const talk = await direct(ann, bob);
  const path = `/api/users/contacts/${bob.id}`;
  for (const [round, ms] of [0, 2, 4, 7, 12, 20].entries()) {
    const act = round % 2 ? () => ann.rest.delete(path) : () => ann.rest.patch(path, { status: 'blocked' });
    await killedAfter(server, ms, [ann, bob], act);
    const blocked = (await ann.rest.get('/api/users/contacts/blocked')).body.length > 0;
    await eventually(async () => {
      const { status } = await bob.rest.post(`/api/chats/conversations/${talk.id}/messages`, { content: `${round}`, type: 'text' });
      return status === (blocked ? 409 : 201) ? null : `blocked ${blocked}, and a send is ${status}`;
    });
    // So that the next round changes something.
    await (round % 2 ? ann.rest.delete(path) : ann.rest.patch(path, { status: 'blocked' }));
  }
  await server.stop();
});

test('G-02 a name that was answered is the name in every conversation after kill -9', async () => {
  const server = await startServer();
  const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
  const talks = [await direct(ann, bob), await direct(ann, eve)];
  for (const ms of [3, 8, 15]) {
    const username = unique('anna');
    await killedAfter(server, ms, [ann, bob, eve], () => ann.rest.patch('/api/users/me', { username }));
    // Whoever got no answer asks again.
    assert.equal((await ann.rest.patch('/api/users/me', { username })).status, 200);
    await server.kill();
    await server.start();
    for (const { rest } of [ann, bob, eve]) rest.baseUrl = server.baseUrl;
    for (const [n, who] of [bob, eve].entries()) {
      const client = await who.connect();
      const { members } = await client.ok('chat:join', talks[n].id);
      assert.equal(members.find(({ id }) => id === ann.id).username, username);
      client.close();
    }
  }
  await server.stop();
});
