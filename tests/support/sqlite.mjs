// Changes bytes of a stopped SQLite database where they lie, without SQLite: in the file, and in the write-ahead log,
// whose frames carry checksums (https://www.sqlite.org/fileformat2.html, section 4.2).
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const HEADER = 32;
const FRAME = 24;

function checksum(bytes, littleEndian, [s0, s1]) {
  const word = (at) => (littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  let [a, b] = [s0, s1];
  for (let at = 0; at < bytes.length; at += 8) {
    a = (a + word(at) + b) >>> 0;
    b = (b + word(at + 4) + a) >>> 0;
  }
  return [a, b];
}

function seal(wal) {
  const littleEndian = wal.readUInt32BE(0) === 0x377f0682;
  const page = wal.readUInt32BE(8);
  let sum = checksum(wal.subarray(0, 24), littleEndian, [0, 0]);
  assert.deepEqual([wal.readUInt32BE(24), wal.readUInt32BE(28)], sum, 'a write-ahead log as known');
  for (let at = HEADER; at + FRAME + page <= wal.length; at += FRAME + page) {
    sum = checksum(wal.subarray(at, at + 8), littleEndian, sum);
    sum = checksum(wal.subarray(at + FRAME, at + FRAME + page), littleEndian, sum);
    wal.writeUInt32BE(sum[0], at + 16);
    wal.writeUInt32BE(sum[1], at + 20);
  }
}

function replaceAll(bytes, from, to) {
  let count = 0;
  for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at + to.length)) {
    Buffer.from(to).copy(bytes, at);
    count += 1;
  }
  return count;
}

/** Replaces text (or bytes) by one of the same length, everywhere. Answers how often. */
export function rewrite(file, from, to) {
  assert.equal(from.length, to.length);
  let count = 0;
  for (const path of [file, `${file}-wal`]) {
    if (!existsSync(path)) continue;
    const bytes = readFileSync(path);
    const found = replaceAll(bytes, from, to);
    if (!found) continue;
    if (path !== file) seal(bytes);
    writeFileSync(path, bytes);
    count += found;
  }
  return count;
}
