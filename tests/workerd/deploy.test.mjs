// What `wrangler deploy` would upload, without an account and without asking anybody.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { deployment } from '../../edge/cloudflare/local/config.mjs';
import { freshDirectory } from '../support/process.mjs';

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
