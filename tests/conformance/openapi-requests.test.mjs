// Requests made from schema/openapi.json, for every operation: what the document allows is answered as it says, what it
// does not allow is refused and changes nothing, and nobody gets anything without a token. SEED repeats a run, EXAMPLES
// (requests per operation) makes it longer. 2.1, 2.3, N29.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { faults, operationOf, operations } from '../support/openapi.mjs';
import { forged, listed } from '../support/people.mjs';
import { ESCAPES, broken, brokenText, noBodies, valid } from '../support/requests.mjs';
import { Rest } from '../support/rest.mjs';
import { isError } from '../support/shapes.mjs';
import { has, needs, target } from '../support/target.mjs';
import { lookAt, newWorld, works } from '../support/world.mjs';

const SEED = Number(process.env.SEED ?? 20_261_120);
const EXAMPLES = Number(process.env.EXAMPLES ?? 20);

/** Rules that no schema can say: what is allowed may still be 400 for one of these fields. */
const MORE_RULES = {
  // Days that there are not, and cursors that no answer gave.
  conversations: ['before'], search: ['q', 'before', 'after', 'cursor'], setMine: ['mutedUntil'],
  // Wildcards alone.
  searchUsers: ['q'],
  // One cursor, one other person, nobody oneself.
  history: ['before', 'beforeSeq', 'afterSeq', 'around'], createConversation: ['memberIds'], requestContact: ['contactId'], answerContact: ['contactId'],
  // What belongs to the message, what is an emoji, what came by mail.
  sendMessage: ['replyTo'], markRead: ['upTo'], react: ['emoji'], unreact: ['emoji'], resetPassword: ['token'],
};

const shapeOf = (path) => (/^\/(health|api\/info)$/.test(path) ? 'django' : 'chatcall');
const encoded = (fields) => Object.entries(fields).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');

/** The path of an operation, `raw` instead of what would be encoded. */
function targetOf(operation, { path = {}, query = {} }, raw = {}, more = '') {
  const filled = operation.path.replace(/\{(\w+)\}/g, (_, name) => raw[name] ?? encodeURIComponent(path[name]));
  const all = [encoded(query), more].filter(Boolean).join('&');
  return all ? `${filled}?${all}` : filled;
}

/** Every wrong form of a request that works. `field` is who is to blame: of query or body, `null` for a path, else nobody. */
function* wrong(operation, request) {
  const { query = {}, body } = request;
  const whole = targetOf(operation, request);
  const of = (what, path, field, sent = body, headers = {}) => ({ what, path, body: sent, headers, field });
  const json = (value) => JSON.stringify(value);

  for (const { name, where, place, required } of operation.parameters) {
    if (where === 'path') {
      for (const [what, text] of brokenText(place, request.path[name])) if (text) yield of(`path ${name}: ${what}`, targetOf(operation, request, { [name]: encodeURIComponent(text) }), null);
      // Where any text may stand, the rest of such a text may too.
      for (const raw of place.fits('x') ? [] : ESCAPES) yield of(`path ${name}: ${raw}`, targetOf(operation, request, { [name]: `x${raw}` }), null);
    }
    if (where !== 'query') continue;
    const value = query[name] ?? 'x';
    const others = { ...request, query: Object.fromEntries(Object.entries(query).filter(([other]) => other !== name)) };
    const as = (raw) => targetOf(operation, others, {}, raw);
    for (const [what, text] of brokenText(place, value)) yield of(`query ${name}: ${what}`, as(encoded({ [name]: text })), name);
    for (const raw of ESCAPES) yield of(`query ${name}: ${raw}`, as(`${encoded({ [name]: value })}${raw}`), name);
    yield of(`query ${name}: twice`, as(`${encoded({ [name]: value })}&${encoded({ [name]: value })}`), name);
    if (required) yield of(`query ${name} is missing`, as(''), name);
  }

  if (!operation.body) return;
  const { required = [] } = operation.body.place.schema;
  for (const [what, other, field] of broken(operation.body.place, body)) {
    yield of(`body ${what}`, whole, field, json(other));
    // And without the others, which might be looked at before it.
    if (field === undefined || required.includes(field) || !(field in other)) continue;
    yield of(`body alone ${what}`, whole, field, json(Object.fromEntries([...required, field].map((name) => [name, other[name]]))));
  }
  for (const [what, bytes] of noBodies(body)) yield of(`body: ${what}`, whole, undefined, bytes);
  for (const media of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/jsonx', 'text/json', '']) {
    yield of(`body: ${media || 'without a type'}`, whole, undefined, new TextEncoder().encode(json(body)), { 'content-type': media });
  }
  yield of('body: too large', whole, undefined, json({ ...body, further: 'x'.repeat(300_000) }));
  if (!operation.body.required) return;
  yield { ...of('body: none', whole, undefined), body: undefined };
  yield of('body: empty', whole, undefined, '');
}

describe('schema/openapi.json', needs('objects', 'unlimited'), () => {
  let server;
  let world;
  let seenBefore;
  const known = {};

  before(async () => {
    server = await target();
    world = await newWorld(server);
    for (const { id } of operations) known[id] = { as: world.ann, ...await works[id](world) };
    // The list may be behind where the people database is elsewhere.
    const rooms = operations.filter(({ path }) => path.startsWith('/api/chats/conversations/{id}')).map(({ id }) => [known[id].as, known[id].path.id]);
    for (const who of [world.ann, world.bob]) rooms.push([who, world.crew.id], [who, world.pair.id]);
    for (const [who, id] of rooms) await listed(who, id, (await who.rest.get(`/api/chats/conversations/${id}`)).body.seq);
    seenBefore = await lookAt(world, [known.register.body.username]);
  });
  after(() => server?.stop());

  /** Sends with the token of whom the request is for. */
  const send = (operation, { as }, path, body, headers, method = operation.method) => new Rest(server.baseUrl, operation.secured ? as.token : null).request(method, path, body, headers);

  test(`SEED=${SEED} EXAMPLES=${EXAMPLES}: there is a request for every operation`, (t) => {
    t.diagnostic(`seed ${SEED}`);
    assert.deepEqual(Object.keys(works).sort(), operations.map(({ id }) => id).sort());
    for (const operation of operations) {
      const { body } = known[operation.id];
      assert.deepEqual([...faults(operation.method, targetOf(operation, known[operation.id]), body && { 'content-type': 'application/json' }, body)], [], operation.id);
    }
  });

  describe('what it does not allow is refused', () => {
    for (const operation of operations) {
      test(`${operation.id}: ${operation.method} ${operation.path}`, async () => {
        const request = known[operation.id];
        for (const { what, path, body, headers, field } of wrong(operation, request)) {
          const answer = await send(operation, request, path, body, headers);
          const sent = `${what}\n${operation.method} ${path.slice(0, 300)} ${String(body).slice(0, 300)}`;
          assert.ok(answer.status >= 400 && answer.status < 500, `${sent}\n${answer.status} ${answer.text}`);
          isError(answer, answer.status, answer.body.code);
          const { code } = answer.body;
          if (/ (text|multipart|application)\/|without a type/.test(what)) assert.equal(code, 'UNSUPPORTED_MEDIA_TYPE', sent);
          else if (/too large/.test(what)) assert.equal(code, 'PAYLOAD_TOO_LARGE', sent);
          else if (field === null) assert.match(code, /^(INVALID_DATA|NOT_FOUND|USER_NOT_FOUND)$/, sent);
          else if (field === 'currentPassword') assert.match(code, /^(INVALID_DATA|REAUTH_REQUIRED)$/, sent);
          else if (field === 'avatarId') assert.equal(answer.body.field, field, sent);
          else if (!/^body: (none|empty)/.test(what)) assert.match(code, /^(INVALID_DATA|PASSWORD_TOO_LONG)$/, sent);
          if (typeof field === 'string' && code !== 'REAUTH_REQUIRED') assert.equal(answer.body.field?.split('.')[0], field, `${sent}\n${answer.text}`);
        }
      });
    }

    for (const path of new Set(operations.map((operation) => operation.path))) {
      test(`another method: ${path}`, async () => {
        const operation = operations.find((one) => one.path === path);
        const real = targetOf(operation, { ...known[operation.id], query: {} });
        const allowed = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].filter((method) => operationOf(method, real));
        for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'].filter((one) => !allowed.includes(one))) {
          const answer = await send(operation, known[operation.id], real, method === 'GET' ? undefined : {}, {}, method);
          isError(answer, 405, 'METHOD_NOT_ALLOWED', { shape: shapeOf(path) });
          assert.deepEqual(answer.headers.get('allow').split(', ').filter((one) => one !== 'HEAD').sort(), allowed.sort(), `${method} ${real}`);
        }
      });
    }
  });

  describe('nobody gets anything without a token', () => {
    for (const operation of operations.filter((one) => one.secured)) {
      test(`${operation.id}: ${operation.method} ${operation.path}`, async () => {
        const request = known[operation.id];
        const { token, refreshToken } = request.as;
        const [head, claims, signature] = token.split('.');
        const none = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${claims}.`;
        const bad = ['', 'Bearer', 'Bearer ', 'Bearer x', `Basic ${Buffer.from('a:b').toString('base64')}`, token, `Token ${token}`, `Bearer ${refreshToken}`, `Bearer ${head}.${claims}`, `Bearer ${none}`, `Bearer ${head}.${claims}.${signature.split('').reverse().join('')}`];
        if (has('secret')) bad.push(`Bearer ${forged(server, token, { exp: 1 })}`, `Bearer ${forged({ secret: 'x' }, token)}`);
        for (const authorization of bad) {
          const answer = await new Rest(server.baseUrl).request(operation.method, targetOf(operation, request), request.body, authorization && { authorization });
          isError(answer, 401, answer.body.code === 'TOKEN_EXPIRED' ? 'TOKEN_EXPIRED' : 'UNAUTHORIZED', { shape: shapeOf(operation.path) });
          assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
        }
        const inQuery = await new Rest(server.baseUrl).request(operation.method, targetOf(operation, request, {}, `access_token=${token}&token=${token}`), request.body);
        isError(inQuery, 401, 'UNAUTHORIZED');
      });
    }
  });

  test('nothing of all that changed anything', async () => {
    assert.deepEqual(await lookAt(world, [known.register.body.username]), seenBefore);
  });

  describe('what was broken works when it is whole', () => {
    for (const operation of operations) {
      test(`${operation.id}: ${operation.method} ${operation.path}`, async () => {
        const request = known[operation.id];
        const answer = await send(operation, request, targetOf(operation, request), request.body);
        if (request.fails) isError(answer, 400, 'INVALID_DATA');
        else assert.ok(answer.status >= 200 && answer.status < 300, `${answer.status} ${answer.text}`);
      });
    }
  });

  describe('what it allows is answered as it says', () => {
    const counted = { all: 0, done: 0 };
    operations.forEach((operation, i) => {
      test(`${operation.id}: ${operation.method} ${operation.path}`, async (t) => {
        const statuses = {};
        for (const complete of valid(operation, known[operation.id], { seed: SEED + i, examples: EXAMPLES })) {
          const now = { as: world.ann, ...await works[operation.id](world) };
          const request = complete(now);
          const path = targetOf(operation, request);
          const body = request.body === undefined ? undefined : JSON.stringify(request.body);
          const sent = `${operation.method} ${path} ${body?.slice(0, 1_000)}`;
          const headers = { ...request.headers, ...(body && { 'content-type': 'application/json' }) };
          assert.deepEqual([...faults(operation.method, path, headers, body)], [], sent);
          const answer = await send(operation, now, path, body, request.headers);
          assert.ok(answer.status < 500, `${sent}\n${answer.status} ${answer.text}`);
          const { code, field } = answer.body ?? {};
          if (code === 'INVALID_DATA') assert.ok(MORE_RULES[operation.id]?.includes(field), `the document allows this:\n${sent}\n${answer.text}`);
          assert.notEqual(answer.status, 401 * Number(operation.secured), sent);
          statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
          counted.all += 1;
          counted.done += Number(answer.status < 300);
        }
        t.diagnostic(JSON.stringify(statuses));
        assert.ok(known[operation.id].fails || Object.keys(statuses).some((status) => status < 300), `never done: ${JSON.stringify(statuses)}`);
      });
    });
    test('more than half of it was done', (t) => {
      t.diagnostic(`${counted.done} of ${counted.all}`);
      assert.ok(counted.done > counted.all / 2, `${counted.done} of ${counted.all}`);
    });
  });
});
