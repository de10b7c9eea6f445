// `cargo xtask cloudflare`: the Worker on this machine, in the foreground, until SIGINT or SIGTERM.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Edge, VARIABLES, healthy, textOf } from './edge.mjs';

const fail = (message) => {
  console.error(`error: ${message}`);
  process.exit(1);
};

function options() {
  try {
    const { values } = parseArgs({ options: { port: { type: 'string', default: '8787' }, data: { type: 'string' } } });
    const port = Number(values.port);
    if (!/^\d+$/.test(values.port) || port > 65_535) return fail('--port wants a number from 0 to 65535');
    return { port, data: resolve(values.data ?? 'data/cloudflare') };
  } catch (error) {
    return fail(error.message);
  }
}

/** Keys made at the first start, readable by their owner only. What the environment sets wins. */
function secrets(data) {
  const path = join(data, 'secrets.json');
  const kept = textOf(path);
  if (kept !== undefined) return JSON.parse(kept);
  const made = { JWT_PRIVATE_KEY: randomBytes(32).toString('base64url'), JWT_REFRESH_SECRET: randomBytes(48).toString('base64url') };
  writeFileSync(path, JSON.stringify(made), { mode: 0o600, flag: 'wx' });
  return made;
}

/** The processes are a group of their own: a terminal's Ctrl-C reaches us only, and we end them in their order. */
function launch(program, args, { env, cwd, extra }) {
  const { PATH, HOME, TMPDIR, SSL_CERT_FILE, SSL_CERT_DIR } = process.env;
  const inherited = Object.entries({ PATH, HOME, TMPDIR, SSL_CERT_FILE, SSL_CERT_DIR }).filter(([, value]) => value);
  const stdio = ['ignore', 'inherit', 'inherit', ...(extra ? ['pipe'] : [])];
  const child = spawn(program, args, { cwd, env: { ...Object.fromEntries(inherited), ...env }, stdio, detached: true });
  const exited = new Promise((done) => {
    child.once('error', (error) => done({ error: error.message }));
    child.once('exit', (code, signal) => done({ code, signal }));
  });
  return { child, exited };
}

const { port, data } = options();
mkdirSync(data, { recursive: true, mode: 0o700 });
const set = Object.fromEntries(VARIABLES.filter((name) => process.env[name] !== undefined).map((name) => [name, process.env[name]]));
const variables = { ...secrets(data), ...set };
// Of the two kinds of key the private one wins; who sets the other one means that.
if (set.JWT_SECRET && !set.JWT_PRIVATE_KEY) delete variables.JWT_PRIVATE_KEY;

const edge = new Edge({ data, port, launch, variables });
let ending;
const stop = () => (ending ??= edge.stop());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => stop().then((orderly) => process.exit(orderly ? 0 : 1)));
}

try {
  await edge.start();
  for (const [name, { exited }] of Object.entries({ workerd: edge.workerd, ...(edge.sqld && { sqld: edge.sqld }) })) {
    exited.then(async (exit) => {
      if (ending) return;
      console.error(`error: ${name} has ended: ${JSON.stringify(exit)}`);
      await stop();
      process.exit(1);
    });
  }
  await healthy(edge.baseUrl);
  console.log(`chatcall on workerd listening on ${edge.baseUrl}`);
} catch (error) {
  if (!ending) {
    await stop();
    fail(error.message);
  }
}
