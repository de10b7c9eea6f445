// Pages come from the Worker, files from the platform; both with the headers that protect them.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { assets } from '../../edge/cloudflare/local/edge.mjs';
import { start } from '../support/hosts/workerd.mjs';
import { freshDirectory, freshSecret } from '../support/server.mjs';

const PROTECTION = {
  'strict-transport-security': /max-age=31536000/,
  'x-content-type-options': /^nosniff$/,
  'x-frame-options': /^DENY$/,
  'referrer-policy': /^no-referrer$/,
  'content-security-policy': /frame-ancestors 'none'/,
};

function isProtected(answer) {
  for (const [name, value] of Object.entries(PROTECTION)) assert.match(answer.headers.get(name) ?? '', value, `${name} of ${answer.url}`);
}

/** What a build of the web client leaves. */
function someFiles() {
  const folder = freshDirectory();
  mkdirSync(join(folder, 'assets'));
  copyFileSync(join(assets, '_headers'), join(folder, '_headers'));
  const files = { 'assets/app-1.js': 'export {};', 'assets/app-1.css': 'p {}', 'sw.js': '// worker', 'icon.svg': '<svg/>', 'app.webmanifest': '{}' };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  return folder;
}

for (const [name, folder] of [['without files', assets], ['with files', someFiles()]]) {
  describe(name, { concurrency: 4 }, () => {
    let worker;
    before(async () => { worker = await start({ assets: folder, env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() } }); });
    after(() => worker?.stop());

    for (const path of ['/', '/index.html', '/chats/01a1f89c', '/missing.js', '/assets/missing.js', '/assets/', '/%2e%2e/etc/passwd', '/_headers', '/a%00b']) {
      test(`${path} is the page`, async () => {
        const answer = await fetch(worker.baseUrl + path);
        assert.equal(answer.status, 200);
        assert.equal(answer.headers.get('content-type'), 'text/html; charset=utf-8');
        assert.match(await answer.text(), /^<!doctype html>/);
        assert.match(answer.headers.get('content-security-policy'), /script-src 'self'/);
        isProtected(answer);
      });
    }

    test('HEAD has the headers and no body', async () => {
      const answer = await fetch(worker.baseUrl, { method: 'HEAD' });
      assert.deepEqual([answer.status, answer.headers.get('content-type'), await answer.text()], [200, 'text/html; charset=utf-8', '']);
      isProtected(answer);
    });

    test('the API is the Worker\'s: JSON, never a page', async () => {
      for (const path of ['/api/health', '/api/info', '/api/missing.js']) {
        const answer = await fetch(worker.baseUrl + path);
        assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8', path);
        assert.equal(answer.headers.get('cache-control'), 'no-store');
        isProtected(answer);
      }
    });

    test('other methods on a page are refused', async () => {
      const answer = await fetch(worker.baseUrl, { method: 'DELETE' });
      assert.equal(answer.status, 405);
      assert.match(answer.headers.get('allow'), /GET/);
    });
  });
}

describe('files', { concurrency: 4 }, () => {
  let worker;
  before(async () => { worker = await start({ assets: someFiles(), env: { JWT_SECRET: freshSecret(), JWT_REFRESH_SECRET: freshSecret() } }); });
  after(() => worker?.stop());

  for (const [path, type, body] of [
    ['/assets/app-1.js', 'text/javascript; charset=utf-8', 'export {};'],
    ['/assets/app-1.css', 'text/css; charset=utf-8', 'p {}'],
    ['/sw.js', 'text/javascript; charset=utf-8', '// worker'],
    ['/icon.svg', 'image/svg+xml', '<svg/>'],
    ['/app.webmanifest', 'application/manifest+json', '{}'],
  ]) {
    test(`${path} is ${type}`, async () => {
      const answer = await fetch(worker.baseUrl + path);
      assert.deepEqual([answer.status, answer.headers.get('content-type'), await answer.text()], [200, type, body]);
      assert.match(answer.headers.get('cache-control'), path.startsWith('/assets/') ? /immutable/ : /must-revalidate/);
      isProtected(answer);
      const head = await fetch(worker.baseUrl + path, { method: 'HEAD' });
      assert.deepEqual([head.status, head.headers.get('content-type'), await head.text()], [200, type, '']);
    });
  }

  test('a socket passes them by', async () => {
    const answer = await fetch(`${worker.baseUrl}/socket.io/?EIO=4&transport=polling`);
    assert.match(await answer.text(), /^0\{"sid"/);
  });
});
