// Connection state recovery over the end of the process: refused, honestly, and nothing is lost. G-17, M1, M5, E-053.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { direct, people, send } from '../support/people.mjs';
import { startServer } from '../support/server.mjs';

const servers = [];
after(() => Promise.all(servers.map((server) => server.kill())));

test('after kill -9 a session begins anew, and sync:resume brings what was missed', async () => {
  const server = await startServer();
  servers.push(server);
  const [ann, bob] = await people(server, 'ann', 'bob');
  const talk = (await direct(ann, bob)).id;
  const b = await bob.connect({ transports: ['websocket'], reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 300 });
  await b.resume({ [talk]: 0 });
  await b.ok('presence:set', { state: 'away', text: 'kept' });
  for (let n = 1; n <= 3; n += 1) await send(ann, talk, `m${n}`);
  await b.count('chat:message', 3);
  const { id, _pid: pid } = b.socket;
  await server.kill();
  await b.next('$disconnect');
  await server.start();
  for (let n = 4; n <= 6; n += 1) await send(ann, talk, `m${n}`);
  await b.count('$connect', 2);
  assert.equal(b.socket.recovered, false);
  assert.notEqual(b.socket.id, id);
  assert.notEqual(b.socket._pid, pid);
  await b.resume({ [talk]: 3 });
  // What was live before the resume may have come first (contract 5.1, rule 5).
  assert.deepEqual([...new Set(b.seqs(talk))].sort(), [1, 2, 3, 4, 5, 6]);
  const { length } = b.seqs(talk);
  // The next loss is recovered again.
  b.cut();
  await b.count('$disconnect', 2);
  await send(ann, talk, 'm7');
  await b.count('$connect', 3);
  assert.equal(b.socket.recovered, true);
  await b.count('chat:message', length + 1);
  assert.equal(b.seqs(talk).at(-1), 7);
  // What was chosen is still there.
  const a = await ann.connect({ transports: ['websocket'] });
  assert.ok((await a.call('presence:getOnline')).includes(bob.id));
  await b.ok('presence:set', { state: 'dnd' });
  assert.equal((await a.next('presence:state', ({ userId }) => userId === bob.id)).text, 'kept');
  [ann, bob].forEach((who) => who.close());
});
