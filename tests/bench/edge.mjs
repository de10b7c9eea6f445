// What the edge costs: the Worker on workerd beside the own host, in one run, with the same clients.
//
//   cargo xtask bench edge [--quick]
//
// CPU is that of the server's process, from /proc; the clients run in this one. What is billed is counted by the Worker
// itself (METER). Prices are those of Workers Paid; the arithmetic is printed with them.
import { cpus, loadavg } from 'node:os';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import WebSocket from 'ws';
import { bundle } from '../../edge/cloudflare/local/edge.mjs';
import { clientId, direct, group, person } from '../support/people.mjs';
import { freshSecret } from '../support/server.mjs';
import { start as startWorkerd } from '../support/hosts/workerd.mjs';
import { start as startOwn } from '../support/hosts/own.mjs';

const quick = process.argv.includes('--quick');
const PAIRS = 20;
const GROUPS = 4;
const GROUP_MEMBERS = 10;
const SECONDS = quick ? 10 : 60;
const CONNECTS = quick ? 100 : 500;
/** A session waits two minutes to be recovered; what its end costs is no cost of the messages sent meanwhile. */
const FORGOTTEN_MS = quick ? 3_000 : 150_000;
const IDLE = quick ? 100 : 1_000;
const IDLE_SECONDS = quick ? 45 : 300;

/** Dollars: Workers Paid and Durable Objects with SQLite, per unit. */
const PRICE = { request: 0.3e-6, cpuMs: 0.02e-6, objectRequest: 0.15e-6, gbSecond: 12.5e-6, row: 1e-6 };
/** Frames of clients are billed as requests, twenty for one. */
const FRAMES_PER_REQUEST = 20;
/** Taken for each event of an object: the time it is kept awake, waiting for others included. Not measurable here. */
const AWAKE_MS = 15;
const OBJECT_GB = 0.128;
const BUDGET = { gzipKb: 600, startMs: 50, rows: 3, dollars: 6 };

const ticks = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

/** A device with as little of a client as it takes: connects, resumes, marks read what it sees. */
class Device {
  constructor(server, token, { resumes = true } = {}) {
    this.acks = new Map();
    this.next = 1;
    this.received = 0;
    this.unread = new Map();
    this.ws = new WebSocket(`${server.baseUrl.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
    this.ready = new Promise((done, fail) => {
      this.ws.on('error', fail);
      this.ws.on('close', () => fail(new Error('closed')));
      this.ws.on('message', async (data) => {
        const text = String(data);
        if (text === '2') return this.ws.send('3');
        if (text.startsWith('0')) return this.ws.send(`40${JSON.stringify({ token })}`);
        if (text.startsWith('44')) return fail(new Error(text));
        if (text.startsWith('40')) return done(resumes ? this.call('sync:resume', { cursors: {} }) : undefined);
        const ack = /^43(\d+)(\[.*)$/s.exec(text);
        if (ack) {
          this.acks.get(Number(ack[1]))?.(JSON.parse(ack[2])[0]);
          return this.acks.delete(Number(ack[1]));
        }
        if (text.startsWith('42["chat:message"')) {
          this.received += 1;
          const [, { conversation_id: talk, seq }] = JSON.parse(text.slice(2));
          this.unread.set(talk, seq);
        }
      });
    });
    this.ready.catch(() => {});
  }

  call(event, payload) {
    const id = this.next++;
    this.ws.send(`42${id}${JSON.stringify([event, payload])}`);
    return new Promise((done) => this.acks.set(id, done));
  }

  /** As people read: what came in the last seconds, at once. */
  read() {
    for (const [conversationId, upTo] of this.unread) {
      this.call('chat:markRead', { conversationId, upTo }).then((ack) => { if (!ack?.ok) throw new Error(`markRead: ${JSON.stringify(ack)}`); });
    }
    this.unread.clear();
  }

  close() {
    this.ready.catch(() => {});
    this.ws.removeAllListeners('close');
    this.ws.close();
  }
}

const HOSTS = {
  workerd: {
    start: () => startWorkerd({ env: secrets(), bindings: { METER: 'on' } }),
    pid: (server) => server.edge.workerd.child.pid,
  },
  'own host': { start: () => startOwn({ env: secrets() }), pid: (server) => server.process.pid },
};
const secrets = () => ({ JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() });

/** Counts of METER since `from`: `{kind: {what: n}}`. */
function counts(server, from = 0) {
  const sums = {};
  for (const [, line] of server.output().slice(from).matchAll(/^meter (\{.*\})$/gm)) {
    const { kind, counts } = JSON.parse(line);
    for (const [what, n] of Object.entries(counts)) (sums[kind] ??= {})[what] = (sums[kind][what] ?? 0) + n;
  }
  return sums;
}

const total = (sums, what) => Object.values(sums).reduce((sum, counts) => sum + (counts[what] ?? 0), 0);

async function inParts(list, size, fn) {
  const all = [];
  for (let at = 0; at < list.length; at += size) all.push(...(await Promise.all(list.slice(at, at + size).map(fn))));
  return all;
}

/** A connect: token, registration at the User, presence, resume of an empty list; what is billed until it is forgotten. */
async function connects(host, server, pid) {
  const who = await inParts(Array(CONNECTS).fill('c'), 20, (name) => person(server, name));
  const mark = server.output().length;
  const before = ticks(pid);
  const devices = await inParts(who, 20, async ({ token }) => {
    const device = new Device(server, token);
    await device.ready;
    return device;
  });
  await sleep(1_000);
  const ms = (ticks(pid) - before) / CONNECTS;
  devices.forEach((device) => device.close());
  await sleep(HOSTS.workerd === host ? FORGOTTEN_MS : 3_000);
  const sums = counts(server, mark);
  return { ms, requests: (total(sums, 'request') + total(sums, 'alarm')) / CONNECTS, rows: total(sums, 'rows') / CONNECTS };
}

/** `talks`: devices of each conversation; everybody sends in turn, everybody reads every few seconds. */
async function chat(server, pid, talks, perSecond) {
  const mark = server.output().length;
  const before = ticks(pid);
  const devices = [...new Set(talks.flatMap(({ devices }) => devices))];
  const reading = setInterval(() => devices.forEach((device) => device.read()), 3_000);
  const received = devices.reduce((sum, device) => sum + device.received, 0);
  let sent = 0;
  const acks = [];
  for (const end = Date.now() + SECONDS * 1_000; Date.now() < end; sent += 1) {
    const { id, devices: here } = talks[sent % talks.length];
    const from = here[Math.floor(sent / talks.length) % here.length];
    acks.push(from.call('chat:message', { conversationId: id, content: `message ${sent} of a bench, about as long as people write`, type: 'text', clientId: clientId() }));
    await sleep(1_000 / perSecond);
  }
  const failed = (await Promise.all(acks)).filter((ack) => !ack?.ok).length;
  if (failed) throw new Error(`${failed} of ${sent} messages failed`);
  await sleep(4_000);
  clearInterval(reading);
  const delivered = devices.reduce((sum, device) => sum + device.received, 0) - received;
  return { sent, delivered, cpu: ticks(pid) - before, sums: counts(server, mark) };
}

async function conversations(server, count, members, make) {
  return inParts(Array(count).fill(0), 4, async () => {
    const who = await Promise.all(Array.from({ length: members }, () => person(server, 'm')));
    const { id } = await make(who);
    const devices = who.map(({ token }) => new Device(server, token));
    await Promise.all(devices.map((device) => device.ready));
    return { id, devices };
  });
}

async function measure(host) {
  const server = await host.start();
  const pid = host.pid(server);
  const result = { connect: await connects(host, server, pid) };
  const pairs = await conversations(server, PAIRS, 2, ([a, b]) => direct(a, b));
  result.pairs = await chat(server, pid, pairs, 10);
  const groups = await conversations(server, GROUPS, GROUP_MEMBERS, ([owner, ...others]) => group(owner, others));
  result.groups = await chat(server, pid, groups, 10);
  [...pairs, ...groups].forEach(({ devices }) => devices.forEach((device) => device.close()));
  await server.stop();
  return result;
}

/** CPU from the start of the process to the first answer, and what of it is the runtime's. */
async function startUp() {
  const once = async () => {
    const server = await startWorkerd({ env: secrets(), ready: false });
    const pid = server.edge.workerd.child.pid;
    const bare = ticks(pid);
    const begun = performance.now();
    await (await fetch(`${server.baseUrl}/api/info`)).text();
    const [cpu, wall] = [ticks(pid) - bare, performance.now() - begun];
    await server.stop();
    return { cpu, wall };
  };
  const runs = [];
  for (let n = 0; n < (quick ? 2 : 7); n += 1) runs.push(await once());
  return runs.sort((a, b) => a.cpu - b.cpu)[Math.floor(runs.length / 2)];
}

async function idle() {
  const server = await HOSTS.workerd.start();
  const who = await inParts(Array(IDLE).fill('i'), 20, (name) => person(server, name));
  const devices = await inParts(who, 20, async ({ token }) => {
    const device = new Device(server, token);
    await device.ready;
    return device;
  });
  await sleep(25_000);
  const mark = server.output().length;
  await sleep(IDLE_SECONDS * 1_000);
  const sums = counts(server, mark);
  const alive = devices.filter(({ ws }) => ws.readyState === WebSocket.OPEN).length;
  devices.forEach((device) => device.close());
  await server.stop();
  return { sums, alive };
}

/** What a message costs, by what was counted. */
function bill({ sent, sums }) {
  const per = (what) => total(sums, what) / sent;
  const events = per('request') + per('frame') + per('alarm');
  const requests = per('request') + per('alarm') + per('frame') / FRAMES_PER_REQUEST;
  const lines = {
    'object requests': requests * PRICE.objectRequest,
    'rows written': per('rows') * PRICE.row,
    'duration': events * (AWAKE_MS / 1_000) * OBJECT_GB * PRICE.gbSecond,
  };
  return { requests, rows: per('rows'), roomRows: (sums.room?.rows ?? 0) / sent, people: per('people'), lines, dollars: Object.values(lines).reduce((a, b) => a + b, 0) * 1e6 };
}

const table = (head, rows) => {
  const text = [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);
  console.log(`\n${text.join('\n')}`);
};
const n = (value, digits = 2) => Number(value).toFixed(digits);
const verdict = (value, budget) => (value <= budget ? 'within' : 'MISSED');

const [script, code] = ['index.js', 'index_bg.wasm'].map((file) => readFileSync(join(bundle, file)));
const raw = (script.length + code.length) / 1_000;
const packed = [script, code].reduce((sum, bytes) => sum + gzipSync(bytes, { level: 9 }).length, 0) / 1_000;

console.log(`edge bench: ${cpus().length} x ${cpus()[0].model}, load ${loadavg().map((x) => n(x)).join(' ')}, ${new Date().toISOString()}`);
const first = await startUp();
const workerd = await measure(HOSTS.workerd);
const own = await measure(HOSTS['own host']);
const asleep = await idle();

table(['bundle and start', 'measured', 'budget', ''], [
  ['bundle, raw KB', n(raw, 0), '', ''],
  ['bundle, gzip KB', n(packed, 0), BUDGET.gzipKb, verdict(packed, BUDGET.gzipKb)],
  ['CPU of the first request, module evaluated and compiled in it, ms (median)', n(first.cpu, 0), BUDGET.startMs, verdict(first.cpu, BUDGET.startMs)],
  ['the same, wall clock, ms', n(first.wall, 0), '', ''],
]);
table(['CPU of the server, ms', 'workerd', 'own host', 'ratio'], [
  ['per connect', n(workerd.connect.ms), n(own.connect.ms), n(workerd.connect.ms / own.connect.ms, 1)],
  ...['pairs', 'groups'].map((kind) => {
    const [here, there] = [workerd[kind], own[kind]].map(({ cpu, sent }) => cpu / sent);
    return [`per message, ${kind === 'pairs' ? 'rooms of 2' : `rooms of ${GROUP_MEMBERS}`} (10/s)`, n(here), n(there), n(here / there, 1)];
  }),
  ['per delivery, rooms of 10', n(workerd.groups.cpu / workerd.groups.delivered), n(own.groups.cpu / own.groups.delivered), ''],
]);
const bills = { pairs: bill(workerd.pairs), groups: bill(workerd.groups) };
table(['the bill, per message', 'rooms of 2', `rooms of ${GROUP_MEMBERS}`, 'budget', ''], [
  ['object requests (20 frames are one)', n(bills.pairs.requests), n(bills.groups.requests), '', ''],
  ['rows written in Rooms', n(bills.pairs.roomRows), n(bills.groups.roomRows), BUDGET.rows, verdict(Math.max(bills.pairs.roomRows, bills.groups.roomRows), BUDGET.rows)],
  ['rows written in all objects', n(bills.pairs.rows), n(bills.groups.rows), '', ''],
  ['requests to the people database', n(bills.pairs.people), n(bills.groups.people), '', ''],
  ['dollars per million messages', n(bills.pairs.dollars), n(bills.groups.dollars), BUDGET.dollars, verdict(Math.max(bills.pairs.dollars, bills.groups.dollars), BUDGET.dollars)],
  ...Object.keys(bills.pairs.lines).map((line) => [`of these ${line}`, ...[bills.pairs, bills.groups].map((one) => n(one.lines[line] * 1e6)), '', '']),
]);
const sweeps = asleep.sums.gateway?.alarm ?? 0;
const others = total(asleep.sums, 'request') + total(asleep.sums, 'frame') + total(asleep.sums, 'alarm') - sweeps;
table([`${IDLE} idle sockets, ${IDLE_SECONDS} s`, 'measured', 'budget', ''], [
  ['sockets still open', asleep.alive, IDLE, asleep.alive === IDLE ? 'within' : 'MISSED'],
  ['alarms of gateways (8 gateways, one per 20 s each)', sweeps, 8 * (Math.ceil(IDLE_SECONDS / 20) + 1), verdict(sweeps, 8 * (Math.ceil(IDLE_SECONDS / 20) + 1))],
  ['other wake-ups', others, 0, verdict(others, 0)],
  ['rows written', total(asleep.sums, 'rows'), '', ''],
]);

/** A day of a million people: 40 messages each, half in pairs and half in groups, 5 connects, an hour online. */
function day() {
  const [people, messages, connectsEach, hours] = [1e6, 40, 5, 1];
  const chat = people * messages * (bills.pairs.dollars + bills.groups.dollars) / 2 / 1e6;
  // A connect: upgrade through the Worker, gateway, User; presence; rows of gateway and User until it is forgotten.
  const { requests, rows } = workerd.connect;
  const connect = people * connectsEach * (PRICE.request + requests * PRICE.objectRequest + rows * PRICE.row + workerd.connect.ms * PRICE.cpuMs);
  const online = people * hours / 24;
  const gateways = Math.ceil(online / 2_000);
  const sweep = gateways * (86_400 / 20) * (PRICE.objectRequest + PRICE.row + 0.05 * OBJECT_GB * PRICE.gbSecond);
  const rest = people * 20 * (PRICE.request + 10 * PRICE.cpuMs);
  table(['a day of 1,000,000 people', 'dollars'], [
    [`${messages} messages each`, n(chat)],
    [`${connectsEach} connects each (${n(requests)} requests to objects, ${n(rows)} rows)`, n(connect)],
    [`sweeps of ${gateways} gateways (${n(online, 0)} online at a time)`, n(sweep)],
    ['20 REST requests each', n(rest)],
    ['sum', n(chat + connect + sweep + rest)],
    ['per person and month', n((chat + connect + sweep + rest) * 30 / people, 5)],
  ]);
}
day();
console.log(`\nprices: object request $${n(PRICE.objectRequest * 1e6)}/M (20 frames are one), row written $${n(PRICE.row * 1e6)}/M, duration $${PRICE.gbSecond * 1e6}/M GB-s with ${AWAKE_MS} ms and ${OBJECT_GB} GB per event (an assumption), Worker request $${n(PRICE.request * 1e6)}/M, CPU $${n(PRICE.cpuMs * 1e6)}/M ms`);
process.exit(0);
