// What `wrangler deploy` would upload, without an account and without asking anybody; and what clients see of a deploy:
// their sockets are cut, nothing else. M1-M6, F20.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFileSync, cpSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { deployment } from '../../edge/cloudflare/local/config.mjs';
import { bundle } from '../../edge/cloudflare/local/edge.mjs';
import { start } from '../support/hosts/workerd.mjs';
import { freshDirectory } from '../support/process.mjs';
import { freshSecret } from '../support/server.mjs';
import { Traffic } from '../support/traffic.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('wrangler accepts the configuration and the bundle', async () => {
  const out = freshDirectory();
  const { stdout } = await promisify(execFile)('cargo', ['xtask', 'wrangler', 'deploy', '--dry-run', '--outdir', out], { cwd: root, maxBuffer: 1 << 26 });
  for (const { name, className } of deployment().objects) assert.match(stdout, new RegExp(`env\\.${name} \\(${className}\\)`));
  assert.match(stdout, /env\.ASSETS/);
  assert.match(stdout, /--dry-run: exiting now/);
  const wasm = readdirSync(out).find((name) => name.endsWith('.wasm'));
  assert.ok(statSync(join(out, wasm)).size > 500_000, 'the code is in it');
});

/** The same code in another file: to the runtime it is another version. */
function anotherVersion(n) {
  const folder = freshDirectory();
  cpSync(bundle, folder, { recursive: true });
  appendFileSync(join(folder, 'index.js'), `\n// version ${n}\n`);
  return folder;
}

test('M1-M6 F20 three deploys under traffic: all clients are back by themselves, nothing is lost or doubled', { timeout: 180_000 }, async (t) => {
  const server = await start({ env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret(), GATEWAYS: '3' } });
  const traffic = await Traffic.start(server);
  traffic.go();
  const away = [];
  for (let n = 1; n <= 3; n += 1) {
    await sleep(2_500);
    const connections = traffic.devices.map((one) => one.connections);
    const begun = Date.now();
    await server.stop();
    await server.start({ bundle: anotherVersion(n) });
    await Promise.all(traffic.devices.map(async (one, k) => {
      for (const end = Date.now() + 15_000; !(one.ready && one.connections > connections[k]); await sleep(20)) {
        assert.ok(Date.now() < end, `${one.name} is not back: ${one.faults.join('; ')}`);
      }
    }));
    away.push(Date.now() - begun);
  }
  await sleep(1_000);
  await traffic.stop();
  const acked = await traffic.check(t, 'deploy');
  t.diagnostic(`everybody was back ${away.join(', ')} ms after the beginning of a deploy`);
  assert.ok(acked > 200, 'there was traffic');
  await server.stop();
});
