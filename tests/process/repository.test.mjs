// What is in the repository and in what is built of it: no secrets outside fixtures, no default keys, no fail points. N67.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, verify } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { person } from '../support/people.mjs';
import { announced, binary, end, freshDirectory, run } from '../support/server.mjs';

/** What stands before the 32 bytes of an Ed25519 key (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What is committed, or everything but what is built where there is no repository. */
function files() {
  try {
    return execFileSync('git', ['-C', root, 'ls-files', '-z'], { encoding: 'utf8' }).split('\0').filter(Boolean);
  } catch {
    const built = ['target', 'node_modules', '.git', '.wrangler', '.spin', 'data', 'dist'];
    const walk = (folder) => readdirSync(join(root, folder), { withFileTypes: true }).filter(({ name }) => !built.includes(name))
      .flatMap((entry) => (entry.isDirectory() ? walk(join(folder, entry.name)) : [join(folder, entry.name)]));
    return walk('');
  }
}

/** Whatever has one of these forms is a secret, wherever it is. */
const KEYS = [
  ['a private key', /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:\\n|\s)*[A-Za-z0-9+/]{20}/], ['an AWS key', /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/], ['a GitHub token', /\bgh[pousr]_[A-Za-z0-9]{36}/], ['a GitLab token', /\bglpat-[\w-]{20}/],
  ['a Slack token', /\bxox[baprs]-[\w-]{10}/], ['a Stripe key', /\b[rs]k_live_\w{10}/], ['a Google key', /\bAIza[\w-]{35}/], ['a registry\'s token', /_(?:authToken|auth|password)\s*=\s*\S/], ['a signed token', /\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}/],
];
/** Whatever looks like one outside fixtures. */
const LIKELY = [
  ['a password hash', /\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}/],
  ['a secret with its name', /(?:secret|passw(?:or)?d|token|api_?key|private_?key|signing_?key)\w*['"]?\s*[:=]\s*(?:Some\()?['"][\w+/=.~-]{16,}['"]/i],
];
const found = (patterns, text) => patterns.filter(([, pattern]) => pattern.test(text)).map(([name, pattern]) => `${name}: ${pattern.exec(text)[0].slice(0, 12)}...`);

/** The part of a file that is no fixture. */
function shipped(path, text) {
  if (/(^|\/)tests?(\/|\.rs$)|\.test\.[a-z]+$/.test(path)) return '';
  return path.endsWith('.rs') ? text.split(/^\s*#\[cfg\(test\)\]\n(?=mod tests \{)/m)[0] : text;
}

test('N67 no secret-like text outside fixtures', () => {
  const all = files();
  assert.ok(all.length > 100 && all.includes('README.md'), `${all.length} files`);
  const wrong = [];
  for (const path of all) {
    const text = readFileSync(join(root, path), 'utf8');
    for (const what of [...found(KEYS, text), ...found(LIKELY, shipped(path, text))]) wrong.push(`${path}: ${what}`);
  }
  assert.deepEqual(wrong, []);
});

test('N67 the patterns find what they are for', () => {
  const random = (length) => 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xR'.repeat(4).slice(0, length);
  const secrets = [
    `-----BEGIN ${'PRIVATE'} KEY-----\n${random(64)}`, `AKIA${random(40).toUpperCase().slice(0, 16)}`, `ghp_${random(36)}`, `eyJ${random(20)}.eyJ${random(20)}.${random(43)}`,
  ];
  for (const secret of secrets) assert.equal(found(KEYS, `x ${secret} x`).length, 1, secret.slice(0, 12));
  for (const line of [`JWT_SECRET = "${random(32)}"`, `password: '${random(16)}'`, `let api_key = Some("${random(20)}")`, `$2b$12$${random(53)}`]) assert.equal(found(LIKELY, line).length, 1, line);
  for (const line of ['JWT_SECRET = ""', "password: password()", 'token: "a token of some words"']) assert.deepEqual(found(LIKELY, line), [], line);
  const source = `let a = 1;\n#[cfg(test)]\nmod tests {\n    let secret = "${random(32)}";\n}`;
  assert.deepEqual(found(LIKELY, shipped('edge/core/src/x.rs', source)), []);
  assert.equal(found(LIKELY, shipped('edge/core/src/x.rs', source.split('\n')[3])).length, 1);
});

test('N67 no state, plan, environment or key file is committed', () => {
  const wrong = files().filter((path) => /\.(tfstate|tfplan|pem|key|p12|pfx|env)(\.backup)?$|(^|\/)(\.env|id_rsa|id_ed25519|\.netrc|terraform\.tfvars)$/.test(path));
  assert.deepEqual(wrong, []);
});

test('N67 what is released holds no fail point', () => {
  const bytes = readFileSync(binary);
  assert.ok(bytes.includes('chatcall listening'), 'it is searched at all');
  for (const word of ['failpoint', 'fail_point', 'FAILPOINTS', 'FAIL_AT', 'CRASH_AT', 'INJECT_']) assert.ok(!bytes.includes(word), word);
});

test('N67 there is no default key: each new installation makes its own, and signs with it', async () => {
  const made = [];
  for (let n = 0; n < 2; n += 1) {
    const data = freshDirectory();
    const process_ = run(['up', '--port', '0', '--private-port', '0', '--data', data], { env: { CHATCALL_ENV: 'development', RATE_LIMITS: 'off', BCRYPT_COST: '4' } });
    const [, baseUrl] = await announced(process_, /^chatcall listening on (http:\/\/127\.0\.0\.1:\d+)\s*$/m);
    const { token } = await person({ baseUrl }, 'ann');
    await end(process_);
    const secrets = JSON.parse(readFileSync(join(data, 'secrets.json'), 'utf8'));
    assert.deepEqual(Object.keys(secrets).sort(), ['refresh_secret', 'signing_seed']);
    made.push({ token, secrets });
  }
  const keys = made.flatMap(({ secrets }) => Object.values(secrets));
  for (const key of keys) assert.ok(Buffer.from(key, 'base64url').length >= 32);
  assert.equal(new Set(keys).size, 4, 'no two are the same');
  const signed = ({ token, by }) => {
    const [, body, signature] = /^(.+)\.([^.]+)$/.exec(token);
    const key = createPrivateKey({ key: Buffer.concat([PKCS8, Buffer.from(by.secrets.signing_seed, 'base64url')]), format: 'der', type: 'pkcs8' });
    return verify(null, Buffer.from(body), createPublicKey(key), Buffer.from(signature, 'base64url'));
  };
  for (const [own, other] of [made, [...made].reverse()]) assert.deepEqual([signed({ token: own.token, by: own }), signed({ token: own.token, by: other })], [true, false]);
});
