// A client that does not read is closed with a name, its memory is bounded, and the others go on as before. O2, F23, M5.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { group, people } from '../support/people.mjs';
import { BareSocket, frame, Polling } from '../support/raw.mjs';
import { freePort, startServer } from '../support/server.mjs';

let server;
let metrics;
before(async () => {
  const port = await freePort();
  metrics = `http://127.0.0.1:${port}/metrics`;
  server = await startServer({ privatePort: port });
});
after(() => server?.stop());

const span = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.process.pid}/status`, 'utf8'))[1]) * 1024;
/** About 16 KB on the wire: a thousand of them are more than the kernel's buffers take. */
const heavy = (conversationId, n) => ({ conversationId, content: `${n} ${'\u{1f44d}'.repeat(1_990)}`, type: 'text', metadata: { pad: 'y'.repeat(8_000) } });

/** How many sockets were closed because they read too slowly. */
const closedAsSlow = async () => Number(/^chatcall_slow_consumers_total (\d+)$/m.exec(await (await fetch(metrics)).text())[1]);

/** Sends `count` heavy messages, a few at a time; answers the time of each. `between` runs after each few. */
async function pour(client, conversationId, count, between = () => {}) {
  const times = [];
  for (let n = 0; n < count; n += 20) {
    await Promise.all(Array.from({ length: 20 }, async (_, k) => {
      const start = performance.now();
      await client.ok('chat:message', heavy(conversationId, n + k));
      times.push(performance.now() - start);
    }));
    await between();
  }
  return times.sort((a, b) => a - b);
}

describe('slow consumers', () => {
  test('O2 a websocket that stops reading is closed with 4008 while others get everything, then resumes by cursor', { timeout: 90_000 }, async (t) => {
    const [ann, bob, cat] = await people(server, 'ann', 'bob', 'cat');
    const crew = await group(ann, [bob, cat]);
    const a = await ann.connect({ transports: ['websocket'] });
    const b = await bob.connect({ transports: ['websocket'] });
    await b.resume();
    const slow = await new BareSocket(server.baseUrl).ready();
    slow.write(frame({ payload: `40${JSON.stringify({ token: cat.token })}` }));
    await slow.frame(({ payload }) => String(payload).startsWith('40'));
    slow.tcp.pause();
    const start = memory();
    let code;
    const times = await pour(a, crew.id, 1_000, async () => {
      // A peer that does not even read the close frame for seconds is cut off: it reads again once it is closed.
      if (code || !(await closedAsSlow())) return;
      slow.tcp.resume();
      code = slow.ended(10_000);
    });
    assert.ok(code, 'it was closed');
    await pour(a, crew.id, 200);
    t.diagnostic(`acks p50 ${times[500].toFixed(1)} ms, p99 ${times[990].toFixed(1)} ms; memory ${((memory() - start) / 1e6).toFixed(0)} MB more`);
    assert.ok(times.at(-1) < 5_000, `a send took ${times.at(-1)} ms`);
    await b.count('chat:message', 1_200);
    assert.deepEqual(b.seqs(crew.id), span(1, 1_200));
    assert.equal(b.connects, 1);
    assert.ok(memory() - start < 128 * 1024 * 1024, 'memory is bounded');
    assert.equal(await code, 4008);
    const seen = slow.frames().filter(({ opcode }) => opcode === 1).map(({ payload }) => /"seq":(\d+)/.exec(String(payload))?.[1]).filter(Boolean).map(Number);
    assert.deepEqual(seen, span(1, seen.length), 'what was written before was in order');
    const back = await cat.connect({ transports: ['websocket'] });
    let cursors = { [crew.id]: seen.length };
    while (Object.keys(cursors).length) cursors = (await back.resume(cursors)).more;
    assert.deepEqual(back.seqs(crew.id), span(seen.length + 1, 1_200));
    [ann, bob, cat].forEach((who) => who.close());
  });

  test('M5 a large resume to a client that reads slowly is paged, not dropped', { timeout: 60_000 }, async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const crew = await group(ann, [bob]);
    const a = await ann.connect({ transports: ['websocket'] });
    await pour(a, crew.id, 500);
    const slow = await new BareSocket(server.baseUrl).ready();
    slow.write(frame({ payload: `40${JSON.stringify({ token: bob.token })}` }));
    await slow.frame(({ payload }) => String(payload).startsWith('40'));
    slow.write(frame({ payload: `420["sync:resume",{"cursors":{"${crew.id}":0}}]` }));
    for (let n = 0; n < 15; n += 1) {
      slow.tcp.pause();
      await sleep(60);
      slow.tcp.resume();
      await sleep(10);
    }
    await slow.frame(({ payload }) => String(payload).startsWith('430['), 15_000);
    const seqs = slow.frames().map(({ payload }) => /^42\["chat:message".*?"seq":(\d+)/.exec(String(payload))?.[1]).filter(Boolean).map(Number);
    assert.deepEqual(seqs, span(1, 500));
    slow.close();
    ann.close();
  });

  test('O2 a polling session that never polls is ended when its buffer is full, and comes back by cursor', { timeout: 60_000 }, async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const crew = await group(ann, [bob]);
    const a = await ann.connect({ transports: ['websocket'] });
    const session = await Polling.open(server.baseUrl);
    await session.posted(`40${JSON.stringify({ token: bob.token })}`);
    await session.take(1);
    await pour(a, crew.id, 120);
    await sleep(300);
    const answer = await session.get();
    assert.ok(answer.status === 400 || answer.text.length < 300 * 1024, `${answer.text.length} bytes waited`);
    const back = await bob.connect({ transports: ['polling'] });
    await back.resume({ [crew.id]: 0 });
    assert.deepEqual(back.seqs(crew.id), span(1, 120));
    [ann, bob].forEach((who) => who.close());
  });
});
