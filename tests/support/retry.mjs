// Cases that race a clock of a few hundred milliseconds may need another try on a busy machine; each one says so.
import { test } from 'node:test';

/** A test that is tried up to three times; every further try is printed. */
export function timed(name, options, fn) {
  if (typeof options === 'function') return timed(name, {}, options);
  return test(name, options, async (t) => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await fn(t);
      } catch (error) {
        if (tries === 3) throw error;
        t.diagnostic(`try ${tries} failed: ${error.message.split('\n')[0]}`);
      }
    }
  });
}
