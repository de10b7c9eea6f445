// Contact requests, answers and blocks., N26; section 2.3 for what a block looks like.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { direct, people, send } from '../support/people.mjs';
import { isError } from '../support/shapes.mjs';
import { needs, target } from '../support/target.mjs';

let server;
before(async () => { server = await target(); });
after(() => server?.stop());

const ask = (a, b) => a.rest.post(`/api/users/contacts/${b.id ?? b}`);
const answer = (a, b, status) => a.rest.patch(`/api/users/contacts/${b.id ?? b}`, { status });

describe('R-08', () => {
  test('R-08 a request is 201, again 200, with the same body', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const first = await ask(ann, bob);
    assert.equal(first.status, 201);
    assert.deepEqual(first.body, { message: 'Contact request sent' });
    const again = await ask(ann, bob);
    assert.equal(again.status, 200);
    assert.equal(again.text, first.text);
  });

  test('N26 a request to oneself is 400', async () => {
    const [ann] = await people(server, 'ann');
    isError(await ask(ann, ann), 400, 'INVALID_DATA');
  });

  test('R-08 an unknown id is 404', async () => {
    const [ann] = await people(server, 'ann');
    const unknown = await ask(ann, '0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d');
    isError(unknown, 404, 'USER_NOT_FOUND');
    const literal = await ask(ann, encodeURIComponent("1 OR 1=1"));
    assert.ok([400, 404].includes(literal.status), literal.text);
  });

  test('R-08 if the other asked first, the request accepts', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    assert.equal((await ask(ann, bob)).status, 201);
    assert.ok([200, 201].includes((await ask(bob, ann)).status));
    // Accepted: there is nothing left to accept or decline.
    assert.equal((await answer(bob, ann, 'declined')).status, 404);
  });

  test('without a token: 401', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    ann.rest.token = null;
    isError(await ask(ann, bob), 401, 'UNAUTHORIZED');
    isError(await answer(ann, bob, 'accepted'), 401, 'UNAUTHORIZED');
  });
});

describe('R-09', () => {
  test('R-09 the one asked accepts', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await ask(ann, bob);
    const accepted = await answer(bob, ann, 'accepted');
    assert.equal(accepted.status, 200);
    assert.deepEqual(accepted.body, { message: 'Contact accepted' });
  });

  test('R-09 the one asked declines; then one may ask again', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await ask(ann, bob);
    const declined = await answer(bob, ann, 'declined');
    assert.equal(declined.status, 200);
    assert.equal(typeof declined.body.message, 'string');
    assert.equal((await answer(bob, ann, 'accepted')).status, 404);
    assert.ok([200, 201].includes((await ask(ann, bob)).status));
    assert.equal((await answer(bob, ann, 'accepted')).status, 200);
  });

  test('N26 accepting one\'s own or a third person\'s request, or none, is 404', async () => {
    const [ann, bob, eve] = await people(server, 'ann', 'bob', 'eve');
    await ask(ann, bob);
    const own = await answer(ann, bob, 'accepted');
    assert.equal(own.status, 404);
    for (const other of [await answer(eve, ann, 'accepted'), await answer(eve, bob, 'accepted'), await answer(bob, eve, 'accepted'), await answer(ann, eve, 'declined'), await answer(ann, randomUUID(), 'accepted')]) {
      assert.equal(other.status, 404);
      assert.equal(other.text, own.text);
    }
    assert.equal((await answer(bob, ann, 'accepted')).status, 200);
  });

  for (const body of [{}, { status: 'pending' }, { status: '' }, { status: 1 }, { status: null }, { status: ['accepted'] }]) {
    test(`${JSON.stringify(body)} is 400 and names the field`, async () => {
      const [ann, bob] = await people(server, 'ann', 'bob');
      await ask(ann, bob);
      isError(await bob.rest.patch(`/api/users/contacts/${ann.id}`, body), 400, 'INVALID_DATA', { field: 'status' });
    });
  }
});

describe('a block', needs('objects'), () => {
  test('R-09 works on anybody, is repeatable, and ends the contact for both', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await ask(ann, bob);
    await answer(bob, ann, 'accepted');
    assert.equal((await answer(ann, bob, 'blocked')).status, 200);
    assert.equal((await answer(ann, bob, 'blocked')).status, 200);
    assert.equal((await answer(bob, ann, 'accepted')).status, 404);
  });

  test('2.3 contact requests of a blocked person are answered as usual, without effect', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await answer(ann, bob, 'blocked');
    const request = await ask(bob, ann);
    assert.equal(request.status, 201);
    assert.deepEqual(request.body, { message: 'Contact request sent' });
    assert.equal((await answer(ann, bob, 'accepted')).status, 404);
  });

  test('2.3 direct sends: USER_UNAVAILABLE for the one blocked, BLOCKED for the one who blocked', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    const talk = await direct(ann, bob);
    await send(bob, talk.id, 'before');
    await answer(ann, bob, 'blocked');
    await sleep(1_000); // P2
    const path = `/api/chats/conversations/${talk.id}/messages`;
    isError(await bob.rest.post(path, { content: 'after', type: 'text' }), 409, 'USER_UNAVAILABLE');
    isError(await ann.rest.post(path, { content: 'after', type: 'text' }), 403, 'BLOCKED');
    assert.deepEqual((await ann.rest.get(path)).body.map(({ content }) => content), ['before']);
    assert.deepEqual((await bob.rest.get(path)).body.map(({ content }) => content), ['before']);
  });

  test('R-11 one may not open a conversation with somebody who blocked one; groups with them: 403', async () => {
    const [ann, bob] = await people(server, 'ann', 'bob');
    await answer(ann, bob, 'blocked');
    const talk = await bob.rest.post('/api/chats/conversations', { type: 'direct', memberIds: [ann.id] });
    assert.ok([403, 404, 409].includes(talk.status), talk.text);
    const crew = await bob.rest.post('/api/chats/conversations', { type: 'group', name: 'x', memberIds: [ann.id] });
    assert.equal(crew.status, 403, crew.text);
  });
});
