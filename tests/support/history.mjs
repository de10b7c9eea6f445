// Writes what clients ask and see as JSON lines, and has them judged: by the checks here, and by the project's checker
// (`check-history`), which decides the same promises over simulated runs. Fields: the documentation of tests/sim.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { atEnd } from './cleanup.mjs';
import { binary } from './server.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A row of the log: what the checker compares. */
export const row = ({ id, seq, sender_id: sender, client_id, content }) => ({ seq, id, sender, client_id, content });

export class History {
  constructor() {
    this.lines = [];
    this.ops = 0;
  }

  op() {
    this.ops += 1;
    return this.ops;
  }

  write(e, fields = {}) {
    this.lines.push({ e, t: Date.now(), ...fields });
  }

  toString() {
    return `${this.lines.map((line) => JSON.stringify(line)).join('\n')}\n`;
  }

  /** Keeps the log where `HISTORY_DIR` says, for people. */
  keep(name) {
    const directory = process.env.HISTORY_DIR;
    if (!directory) return;
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `${name}.jsonl`), this.toString());
  }
}

/**
 * Runs the checker over a history. Answers its verdict, or `null` where it is not built and cannot be.
 * @returns {Promise<{ok: boolean, text: string} | null>}
 */
export async function judge(history) {
  const built = [process.env.CHECK_HISTORY_BIN, join(dirname(binary), 'check-history')].find((path) => path && existsSync(path));
  if (!built && !existsSync(join(root, 'tests/sim/src/bin/check-history.rs'))) return null;
  const [command, args] = built ? [built, []] : ['cargo', ['run', '--quiet', '--release', '-p', 'sim', '--bin', 'check-history']];
  const child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
  atEnd(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
  child.stderr.setEncoding('utf8').on('data', (chunk) => { text += chunk; });
  child.stdin.on('error', () => {});
  const ended = new Promise((done) => { child.once('error', () => done(null)); child.once('close', (code) => done(code)); });
  child.stdin.end(history.toString());
  const code = await ended;
  if (code === null) return null;
  return { ok: code === 0, text };
}

const span = (to) => Array.from({ length: to }, (_, n) => n + 1);

/**
 * M1-M3, M5, M6 over the stored truth and what each device took.
 * @param {Map<string, {id: string, seq: number, content: string, client_id: string, sender_id: string}[]>} final by conversation
 * @param {{conversationId: string, message: any}[]} acked
 * @param {{name: string, conversations: string[], taken: Map<string, number[]>}[]} devices
 */
export function checkTruth(final, acked, devices) {
  for (const [id, rows] of final) {
    assert.deepEqual(rows.map(({ seq }) => seq), span(rows.length), `M3 seq of ${id} is dense`);
    const keys = rows.map(({ sender_id, client_id }) => `${sender_id} ${client_id}`);
    assert.equal(new Set(keys).size, keys.length, `M2 a key twice in ${id}`);
  }
  for (const { conversationId, message } of acked) {
    const same = final.get(conversationId).filter(({ id }) => id === message.id);
    assert.equal(same.length, 1, `M1 acked message ${message.id} (seq ${message.seq}) is ${same.length} times in history`);
    assert.deepEqual([same[0].seq, same[0].content, same[0].client_id], [message.seq, message.content, message.client_id], 'M4 an acked message is another one now');
  }
  for (const { name, conversations, taken } of devices) {
    for (const id of conversations) assert.deepEqual(taken.get(id) ?? [], span(final.get(id).length), `M5 what ${name} got of ${id}`);
  }
}
