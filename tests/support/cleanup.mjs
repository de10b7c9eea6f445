// What a file leaves open when a case fails half-way is ended with the file: otherwise its process would never end.
import { after } from 'node:test';

const open = new Set();

/** Runs `end` when all tests of this file are over, unless the answer was called before. */
export function atEnd(end) {
  open.add(end);
  return () => open.delete(end);
}

after(async () => {
  for (const end of [...open].reverse()) await Promise.resolve().then(end).catch(() => {});
  open.clear();
});
