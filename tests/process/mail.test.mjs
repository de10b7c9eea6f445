// Forgotten passwords over a real mail server: the link, kill -9 before it is sent, a server that refuses. G-16, V-34 SMTP_URL.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { linkIn, MailServer } from '../support/mail.mjs';
import { password, people, person } from '../support/people.mjs';
import { Rest } from '../support/rest.mjs';
import { isError } from '../support/shapes.mjs';
import { freshDirectory, freshSecret, run, startServer } from '../support/server.mjs';
import { straight } from '../support/sockets.mjs';

const forgot = async (server, email, headers) => {
  const answer = await new Rest(server.baseUrl).post('/api/auth/reset/request', { email }, headers);
  assert.equal(answer.status, 202, answer.text);
};
const reset = (server, token, newPassword) => new Rest(server.baseUrl).post('/api/auth/reset', { token, newPassword });
const arrived = async (mail, count = 1, ms = 15_000) => {
  for (const end = Date.now() + ms; mail.mails.length < count; await sleep(50)) assert.ok(Date.now() < end, `${mail.mails.length} of ${count} mails`);
  return mail.mails[count - 1];
};
const tokenIn = (sent) => linkIn(sent).split('#token=')[1];

test('G-16 the link in the mail sets the password once, and every session ends', async () => {
  const mail = await new MailServer().start({ user: 'chat', password: 'p@ss/word' });
  const server = await startServer({ env: { SMTP_URL: mail.url, PUBLIC_URL: 'https://chat.example.com/', SMTP_FROM: 'Crew <crew@example.com>' } });
  const [ann, bob] = await people(server, 'ann', 'bob');
  const client = await ann.connect(straight);
  await forgot(server, ann.email.toUpperCase(), { host: 'evil.example', origin: 'https://evil.example', 'x-forwarded-host': 'evil.example' });
  await forgot(server, 'nobody@test.invalid');
  const sent = await arrived(mail);
  assert.deepEqual([sent.from, sent.to], ['crew@example.com', [ann.email]]);
  assert.match(sent.text, /^Auto-Submitted: auto-generated\r?$/m);
  assert.match(sent.text, /^Message-ID: <[0-9a-f]+@example\.com>\r?$/im);
  assert.match(linkIn(sent), /^https:\/\/chat\.example\.com\/reset#token=[0-9a-f]{64}$/);
  assert.doesNotMatch(sent.text, /evil/);

  const next = password();
  isError(await reset(server, tokenIn(sent), 'short'), 400, 'INVALID_DATA', { field: 'newPassword' });
  const both = await Promise.all([reset(server, tokenIn(sent), next), reset(server, tokenIn(sent), next)]);
  assert.deepEqual(both.map(({ status }) => status).sort(), [204, 400]);
  await client.next('auth:revoked', () => true, { ms: 5_000 });
  isError(await ann.rest.get('/api/auth/me'), 401, 'UNAUTHORIZED');
  assert.equal((await bob.rest.get('/api/auth/me')).status, 200);
  isError(await new Rest(server.baseUrl).post('/api/auth/login', { email: ann.email, password: ann.password }), 401, 'UNAUTHORIZED');
  ann.password = next;
  await ann.login();
  isError(await reset(server, tokenIn(sent), password()), 400, 'INVALID_DATA', { field: 'token' });
  await sleep(2_500);
  assert.equal(mail.mails.length, 1, 'nothing is sent twice, and nothing to nobody');
  await server.stop();
  for (const file of readdirSync(server.data).filter((name) => /\.db/.test(name))) {
    assert.ok(!readFileSync(join(server.data, file), 'latin1').includes(tokenIn(sent)), `the token is in ${file}`);
  }
  assert.ok(!server.everything().includes(tokenIn(sent)) && !server.everything().includes('p@ss'), 'no secret is in the log');
  await mail.stop();
});

test('G-16 a mail outlives kill -9 and a server that is not there', async () => {
  const mail = await new MailServer().start();
  const { port } = mail;
  await mail.stop();
  const server = await startServer({ env: { SMTP_URL: `smtp://127.0.0.1:${port}`, JWT_REFRESH_SECRET: freshSecret() } });
  const ann = await person(server, 'ann');
  await forgot(server, ann.email);
  await server.kill();
  const again = await new MailServer().start({ port });
  await server.start();
  const sent = await arrived(again, 1, 60_000);
  assert.match(linkIn(sent), new RegExp(`^http://localhost:${server.port}/reset#`), 'in development links begin with this host');
  assert.equal((await reset(server, tokenIn(sent), password())).status, 204);
  await server.stop();
  await again.stop();
});

test('G-16 a mail that is refused for ever is dropped, and one that is put off is tried again', async () => {
  const mail = await new MailServer().start();
  const server = await startServer({ env: { SMTP_URL: mail.url } });
  const [ann, bob] = await people(server, 'ann', 'bob');
  mail.refuse = 550;
  await forgot(server, ann.email);
  for (const end = Date.now() + 15_000; mail.tries < 1; await sleep(50)) assert.ok(Date.now() < end);
  await sleep(500);
  mail.refuse = 451;
  await forgot(server, bob.email);
  for (const end = Date.now() + 15_000; mail.tries < 2; await sleep(50)) assert.ok(Date.now() < end);
  await sleep(500);
  mail.refuse = null;
  const sent = await arrived(mail, 1, 60_000);
  assert.deepEqual(sent.to, [bob.email]);
  await sleep(2_000);
  assert.equal(mail.mails.length, 1);
  await server.stop();
  await mail.stop();
});

for (const [name, env, named] of [
  ['without an address for links', { SMTP_URL: 'smtp://127.0.0.1' }, 'PUBLIC_URL'],
  ['that is none', { SMTP_URL: `mail.example.com/${randomBytes(8).toString('hex')}`, PUBLIC_URL: 'https://chat.example.com' }, 'SMTP_URL'],
  ['with a wrong sender', { SMTP_URL: 'smtp://127.0.0.1', PUBLIC_URL: 'https://chat.example.com', SMTP_FROM: 'nobody' }, 'SMTP_FROM'],
  ['with a wrong address for links', { SMTP_URL: 'smtp://127.0.0.1', PUBLIC_URL: 'chat.example.com' }, 'PUBLIC_URL'],
]) {
  test(`SMTP_URL ${name} is refused at start, with one sentence`, async () => {
    const process_ = run(['up', '--port', '0', '--private-port', '0', '--data', freshDirectory()], { env });
    const exit = await process_.exited;
    assert.equal(exit.code, 2, process_.stderr);
    assert.ok(process_.stderr.includes(named), process_.stderr);
    assert.ok(!process_.stderr.includes(env.SMTP_URL.split('/')[1] || '\0'), 'the URL may hold a password');
  });
}
