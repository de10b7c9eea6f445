// What came in never comes out: no token, password or message text in what a host prints, nor in the answers to wrong
// requests. What own host stores and prints at other levels is in process/logs.test.mjs. N16, N64.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people, send } from '../support/people.mjs';
import { poll } from '../support/raw.mjs';
import { Rest } from '../support/rest.mjs';
import { refusedConnect, straight } from '../support/sockets.mjs';
import { external, needs, target } from '../support/target.mjs';

const canary = (name) => `${name}${randomBytes(12).toString('hex')}`;
let server;
before(async () => { server = await target(); });
after(() => server?.stop());

describe('canaries', needs('objects'), () => {
  const secrets = Object.fromEntries(['password', 'wrong', 'text', 'rejected', 'meta', 'query', 'bearer', 'refresh', 'reset'].map((name) => [name, canary(name)]));
  const said = [];

  test('N64 answers to wrong requests do not repeat what was in them', async () => {
    const rest = new Rest(server.baseUrl);
    const [ann, bob] = await people(server, 'ann', 'bob');
    Object.assign(secrets, { annToken: ann.token.split('.')[2], annRefresh: ann.refreshToken, annPassword: ann.password, bobToken: bob.token.split('.')[2] });
    const talk = await direct(ann, bob);
    const path = `/api/chats/conversations/${talk.id}/messages`;
    const wrong = async (answer, least = 400) => {
      const { status, text } = await answer;
      assert.ok(status >= least, `${status} ${text}`);
      said.push(text);
    };
    await wrong(rest.post('/api/auth/login', { email: ann.email, password: secrets.wrong }));
    await wrong(rest.post('/api/auth/login', `{"email":"${ann.email}","password":"${secrets.wrong}`));
    await wrong(rest.post('/api/auth/login', { email: { $gt: secrets.wrong }, password: secrets.wrong }));
    await wrong(rest.post('/api/auth/register', { username: '!', email: 'x', password: secrets.password }));
    await wrong(rest.post('/api/auth/register', { username: ann.username, email: ann.email, password: secrets.password }));
    await wrong(rest.post('/api/auth/refresh', { refreshToken: secrets.refresh }));
    await wrong(rest.post('/api/auth/refresh', { refreshToken: [ann.refreshToken] }));
    await wrong(rest.post('/api/auth/reset', { token: secrets.reset, newPassword: secrets.password }));
    await wrong(ann.rest.post('/api/auth/password', { currentPassword: secrets.wrong, newPassword: secrets.password }));
    await wrong(ann.rest.patch('/api/users/me', { email: 'new@test.invalid', currentPassword: secrets.wrong }));
    for (const query of [`token=${secrets.query}`, `access_token=${ann.token}`, `password=${secrets.query}`]) await wrong(rest.get(`/api/auth/me?${query}`));
    await wrong(rest.get('/api/auth/me', { authorization: `Bearer ${secrets.bearer}` }));
    await wrong(rest.get(`/api/nothing?token=${ann.token}&q=${secrets.query}`));
    await wrong(ann.rest.request('PUT', `${path}?q=${secrets.query}`, { content: secrets.rejected }));
    await wrong(ann.rest.post(path, { content: `${secrets.rejected}\u0000`, type: 'text' }));
    await wrong(ann.rest.post(path, { content: secrets.rejected, type: secrets.rejected }));
    await wrong(ann.rest.post(path, `{"content":"${secrets.rejected}`));
    await wrong(bob.rest.post('/api/chats/conversations', { type: secrets.rejected, memberIds: [secrets.rejected] }));
    await send(ann, talk.id, secrets.text, { metadata: { m: secrets.meta }, clientId: 'k' });
    await wrong(ann.rest.post(path, { content: secrets.rejected, type: 'text', clientId: 'k' }));

    const a = await ann.connect({ ...straight, query: { token: ann.token } });
    said.push(JSON.stringify(await Promise.all([
      a.call('chat:message', { conversationId: talk.id, content: `${secrets.rejected}\u0000`, type: 'text' }), a.call('chat:message', { conversationId: talk.id, content: secrets.rejected, type: secrets.rejected }),
      a.call('chat:message', { conversationId: talk.id, content: secrets.rejected, type: 'text', clientId: 'k' }), a.call(secrets.rejected, secrets.rejected), a.call('auth:renew', { token: secrets.bearer }), a.call('auth:renew', { token: bob.token }),
    ])));
    const refused = await refusedConnect(server.baseUrl, { ...straight, auth: { token: secrets.bearer } });
    said.push(`${refused.message} ${JSON.stringify(refused.data)}`);
    said.push((await poll(server.baseUrl, '/socket.io/', { query: { sid: secrets.query, token: ann.token } })).text);
    a.close();
    const all = said.join('\n');
    for (const [name, secret] of Object.entries(secrets)) assert.ok(!all.includes(secret), `${name} is in an answer: ${said.find((text) => text.includes(secret))}`);
  });

  test('N16 N64 nothing of it is printed', external ? { skip: 'what this host prints is not known here' } : {}, async () => {
    await sleep(500);
    const printed = (server.everything ?? server.output).call(server);
    for (const [name, secret] of Object.entries(secrets)) {
      const at = printed.indexOf(secret);
      assert.ok(at < 0, `${name} is in the log: ${printed.slice(Math.max(0, at - 300), at + 60)}`);
    }
  });
});
