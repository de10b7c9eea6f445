// What objects of the Worker did, as METER=on prints it: one line per event.
import { setTimeout as sleep } from 'node:timers/promises';

/** Reads the lines of one life of the runtime from now on. */
export class Meter {
  constructor(worker) {
    this.process = worker.edge.workerd;
    this.from = this.process.stdout.length;
  }

  /** Events since the beginning: `{kind, name, counts}`. */
  events() {
    const text = this.process.stdout.slice(this.from);
    return [...text.matchAll(/^.*?meter (\{.*\})\s*$/gm)].map(([, json]) => JSON.parse(json));
  }

  /** Sum of one count over objects of a kind (or of all), and of one name. */
  sum(what, kind, name) {
    const of = this.events().filter((event) => (!kind || event.kind === kind) && (!name || event.name === name));
    return of.reduce((sum, { counts }) => sum + (counts[what] ?? 0), 0);
  }

  /** Waits until a count is reached. */
  async reached(count, what, kind, ms) {
    for (const end = Date.now() + ms; this.sum(what, kind) < count; await sleep(50)) {
      if (Date.now() > end) throw new Error(`${this.sum(what, kind)} of ${count} ${what} of ${kind} within ${ms} ms`);
    }
  }

  /** Counts by kind, for people. */
  toString() {
    const all = {};
    for (const { kind, counts } of this.events()) {
      for (const [what, n] of Object.entries(counts)) {
        all[kind] ??= {};
        all[kind][what] = (all[kind][what] ?? 0) + n;
      }
    }
    return JSON.stringify(all);
  }
}
