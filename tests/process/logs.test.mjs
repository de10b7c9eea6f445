// What the process prints and stores, on good paths and on error paths: no token, no password, no message text. N16, N64.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people } from '../support/people.mjs';
import { openSocket, poll } from '../support/raw.mjs';
import { rawHttp, Rest } from '../support/rest.mjs';
import { freePort, startServer } from '../support/server.mjs';
import { refusedConnect } from '../support/sockets.mjs';

for (const level of ['info', 'debug']) {
  test(`N16 N64 canaries at RUST_LOG=${level}: in the log and in metrics`, async () => {
    const canary = (name) => `${name}${randomBytes(12).toString('hex')}`;
    const secrets = { password: canary('pw'), wrong: canary('wrong'), text: canary('text'), rejected: canary('rejected'), meta: canary('meta'), query: canary('query'), bearer: canary('bearer'), body: canary('body') };
    const privatePort = await freePort();
    const server = await startServer({ privatePort, env: { RUST_LOG: level } });
    const rest = new Rest(server.baseUrl);
    const [ann, bob] = await people(server, 'ann', 'bob');
    const name = `canary${randomBytes(4).toString('hex')}`;
    const account = await rest.post('/api/auth/register', { username: name, email: `${name}@test.invalid`, password: secrets.password });
    assert.equal(account.status, 201);
    await rest.post('/api/auth/login', { email: `${name}@test.invalid`, password: secrets.password });
    await rest.post('/api/auth/login', { email: `${name}@test.invalid`, password: secrets.wrong });
    await rest.post('/api/auth/login', `{"email":"x","password":"${secrets.wrong}`);
    await rest.post('/api/auth/register', { username: '!', email: secrets.body, password: secrets.wrong });
    await rest.get(`/api/auth/me?token=${secrets.query}&access_token=${ann.token}`);
    await rest.get('/api/auth/me', { authorization: `Bearer ${secrets.bearer}` });
    await rest.post('/api/auth/refresh', { refreshToken: secrets.body });
    const refreshed = await rest.post('/api/auth/refresh', { refreshToken: bob.refreshToken });
    await rest.get(`/api/nothing?token=${ann.token}&q=${secrets.query}`);
    await rawHttp(server.baseUrl, `GET /api/auth/me?token=${secrets.query} HTTP/9.9\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`, 500);

    const talk = await direct(ann, bob);
    const a = await ann.connect({ query: { token: ann.token } });
    const b = await bob.connect({ transports: ['websocket'] });
    await a.ok('chat:message', { conversationId: talk.id, content: secrets.text, type: 'text', metadata: { m: secrets.meta }, clientId: 'k' });
    await a.call('chat:message', { conversationId: talk.id, content: `${secrets.rejected}\u0000`, type: 'text' });
    await a.call('chat:message', { conversationId: talk.id, content: secrets.rejected, type: secrets.rejected });
    await a.call('chat:message', { conversationId: talk.id, content: secrets.rejected, type: 'text', clientId: 'k' });
    await a.call(secrets.rejected, 1).catch(() => {});
    await ann.rest.post(`/api/chats/conversations/${talk.id}/messages`, { content: secrets.text, type: 'text' });
    await ann.rest.post(`/api/chats/conversations/${talk.id}/messages`, `{"content":"${secrets.rejected}`);
    await a.call('auth:renew', { token: secrets.bearer });
    await refusedConnect(server.baseUrl, { auth: { token: secrets.bearer }, transports: ['websocket'] });
    const raw = await openSocket(server.baseUrl);
    raw.send(`40{"token":"${secrets.bearer}"`);
    await raw.ended();
    const broken = await openSocket(server.baseUrl);
    broken.send(`40${JSON.stringify({ token: bob.token })}`);
    await broken.next();
    broken.send(`42["chat:message",{"content":"${secrets.rejected}"`);
    await broken.ended();
    await poll(server.baseUrl, '/socket.io/', { query: { sid: secrets.query } });
    b.cut();
    await bob.rest.post('/api/auth/logout', {});
    await sleep(300);
    const pages = await Promise.all(['metrics', 'health'].map(async (path) => (await fetch(`http://127.0.0.1:${privatePort}/${path}`)).text()));
    assert.match(pages[0], /chatcall_messages_total/);
    ann.close();
    await server.kill();
    await server.start();
    await server.stop();

    const said = server.everything() + pages.join('\n');
    assert.ok(said.length > 50, 'it logs something at all');
    const tokens = { access: ann.token.split('.')[2], access2: account.body.accessToken.split('.')[2], claims: ann.token.split('.')[1], refresh: ann.refreshToken, refresh2: bob.refreshToken, successor: refreshed.body.refreshToken };
    for (const [what, secret] of Object.entries({ ...secrets, ...tokens })) assert.ok(!said.includes(secret), `${what} is in the log: ${said.slice(Math.max(0, said.indexOf(secret) - 300), said.indexOf(secret) + 60)}`);

    const stored = readdirSync(server.data).filter((file) => /\.db/.test(file)).map((file) => readFileSync(join(server.data, file), 'latin1')).join('');
    for (const what of ['password', 'wrong']) assert.ok(!stored.includes(secrets[what]), `${what} is stored in clear`);
    for (const [what, secret] of Object.entries(tokens)) assert.ok(!stored.includes(secret), `the ${what} token is stored in clear`);
    assert.ok(stored.includes(secrets.text), 'the search finds what is there');
  });
}

test('logs are lines of JSON when nobody watches', async () => {
  const server = await startServer();
  await people(server, 'ann');
  await server.stop();
  const lines = server.logs.split('\n').filter((line) => line && !line.startsWith('chatcall listening'));
  for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), line);
});
