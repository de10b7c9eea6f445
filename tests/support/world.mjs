// A small world, and for every operation of the OpenAPI document a request that is answered 2xx in it.
import { clientId, decode, direct, group, password, people, person, send, unique } from './people.mjs';

const address = () => `${unique('new')}@test.invalid`;

/** People who know each other, conversations with messages. */
export async function newWorld(server) {
  const [ann, bob, cid, dan] = await people(server, 'ann', 'bob', 'cid', 'dan');
  for (const other of [bob, cid]) await ann.rest.post(`/api/users/contacts/${other.id}`);
  await bob.rest.post(`/api/users/contacts/${ann.id}`);
  await ann.rest.patch(`/api/users/contacts/${dan.id}`, { status: 'blocked' });
  const crew = await group(ann, [bob, cid]);
  const pair = await direct(ann, bob);
  const first = await send(ann, crew.id, 'the first word, see https://example.org');
  await send(bob, crew.id, 'and an answer', { replyTo: first.id });
  const said = await send(ann, pair.id, 'only for you');
  await ann.rest.patch(`/api/chats/messages/${first.id}`, { content: 'the first words, see https://example.org' });
  await ann.rest.put(`/api/chats/messages/${first.id}/reactions/${encodeURIComponent('👍')}`);
  return { server, ann, bob, cid, dan, crew, pair, first, said };
}

/** What may have changed when something was done, as two people see it. Nobody has one of these `names`, unless it was done. */
export async function lookAt({ ann, bob, crew, pair, first }, names) {
  const paths = [
    '/api/auth/me', '/api/auth/sessions', '/api/users/me/settings', '/api/users/contacts', '/api/users/contacts/pending', '/api/users/contacts/pending?direction=out', '/api/users/contacts/blocked',
    '/api/chats/conversations', ...[crew, pair].flatMap(({ id }) => ['', '/messages', '/events'].map((rest) => `/api/chats/conversations/${id}${rest}`)), `/api/chats/messages/${first.id}/edits`, ...names.map((name) => `/api/users/search?q=${name}`),
  ];
  const found = {};
  for (const who of [ann, bob]) for (const path of paths) found[`${who.username} ${path}`] = (await who.rest.get(path)).body;
  // What was delivered is told now and then, and is no change by a request.
  return JSON.parse(JSON.stringify(found, (name, value) => (name === 'delivered_seq' ? undefined : value)));
}

/**
 * By `operationId`: a request that is answered 2xx once, with as many fields as it can have. `as` is who asks (ann).
 * Nothing of what it changes is needed by another.
 * @type {Record<string, (world: object) => object | Promise<object>>}
 */
export const works = {
  register: () => ({ body: { username: unique('new'), email: address(), password: password(), inviteToken: 'x' } }),
  login: ({ ann }) => ({ body: { email: ann.email, password: ann.password } }),
  refresh: async ({ bob }) => ({ body: { refreshToken: (await bob.login()).refreshToken } }),
  me: () => ({}),
  logout: async ({ bob }) => {
    const as = await bob.login();
    return { as, body: { refreshToken: as.refreshToken } };
  },
  logoutAll: async ({ server }) => {
    const as = await person(server, 'eve');
    return { as, body: { refreshToken: as.refreshToken } };
  },
  sessions: () => ({}),
  endSession: async ({ bob }) => {
    const as = await bob.login();
    return { as, path: { sid: decode(as.token).claims.sid } };
  },
  changePassword: async ({ server }) => {
    const as = await person(server, 'eve');
    return { as, body: { currentPassword: as.password, newPassword: password() } };
  },
  requestReset: ({ ann }) => ({ body: { email: ann.email } }),
  // Tokens come by mail only; see tests/process.
  resetPassword: () => ({ fails: true, body: { token: 'x', newPassword: password() } }),
  searchUsers: ({ bob }) => ({ query: { q: bob.username.slice(0, 8) } }),
  changeProfile: async ({ server }) => {
    const as = await person(server, 'eve');
    return { as, body: { username: unique('new'), display_name: 'Eve', status: 'at lunch', bio: 'two\nlines', email: address(), currentPassword: as.password, profile: { mobile: '+49 1', gender: 'f', user_type: 'guest' } } };
  },
  settings: () => ({}),
  changeSettings: ({ bob }) => ({ as: bob, body: { quietHours: { from: '22:00', to: '07:30', timezone: 'Europe/Berlin' }, sounds: true, locale: 'pt-BR', theme: 'dark', readReceipts: true } }),
  showUser: ({ bob }) => ({ path: { id: bob.id } }),
  contacts: () => ({}),
  pendingContacts: () => ({ query: { direction: 'out' } }),
  blockedContacts: () => ({}),
  requestContact: async ({ server }) => ({ path: { contactId: (await person(server, 'eve')).id } }),
  answerContact: async ({ server, bob }) => {
    const eve = await person(server, 'eve');
    await eve.rest.post(`/api/users/contacts/${bob.id}`);
    return { as: bob, path: { contactId: eve.id }, body: { status: 'accepted' } };
  },
  removeContact: ({ cid, bob }) => ({ as: bob, path: { contactId: cid.id } }),
  conversations: () => ({ query: { limit: 5, before: '2999-01-01T00:00:00Z' } }),
  createConversation: ({ bob, cid }) => ({ body: { type: 'group', name: 'Crew', memberIds: [bob.id, cid.id] } }),
  conversation: ({ crew }) => ({ path: { id: crew.id } }),
  updateConversation: async ({ bob, cid }) => ({ as: bob, path: { id: (await group(bob, [cid])).id }, body: { name: 'Crew 2', avatarId: null } }),
  addMembers: async ({ bob, cid, dan }) => ({ as: bob, path: { id: (await group(bob, [cid])).id }, body: { userIds: [dan.id] } }),
  removeMember: async ({ bob, cid }) => ({ as: bob, path: { id: (await group(bob, [cid])).id, userId: cid.id } }),
  setRole: async ({ bob, cid }) => ({ as: bob, path: { id: (await group(bob, [cid])).id, userId: cid.id }, body: { role: 'admin' } }),
  leaveConversation: async ({ bob, cid }) => ({ as: bob, path: { id: (await group(bob, [cid])).id } }),
  setMine: ({ crew }) => ({ path: { id: crew.id }, body: { mutedUntil: '2999-01-01T00:00:00Z', level: 'mentions' } }),
  markRead: ({ crew }) => ({ path: { id: crew.id }, body: { upTo: 1 } }),
  history: ({ crew, first }) => ({ path: { id: crew.id }, query: { limit: 5, around: first.id } }),
  sendMessage: ({ crew, first }) => ({ path: { id: crew.id }, body: { content: 'hello', type: 'text', clientId: clientId(), replyTo: first.id, attachmentIds: [], metadata: { a: [1, null] } } }),
  events: ({ crew }) => ({ path: { id: crew.id }, query: { after: 1, limit: 5 } }),
  editMessage: async ({ bob, pair }) => ({ as: bob, path: { id: (await send(bob, pair.id, 'to edit')).id }, body: { content: 'edited' } }),
  deleteMessage: async ({ bob, pair }) => ({ as: bob, path: { id: (await send(bob, pair.id, 'to delete')).id } }),
  edits: ({ first }) => ({ path: { id: first.id } }),
  react: ({ said }) => ({ path: { id: said.id, emoji: '🎉' } }),
  unreact: ({ said }) => ({ path: { id: said.id, emoji: '👍' } }),
  search: ({ ann, crew }) => ({ query: { q: 'first word', conversationId: crew.id, from: ann.id, before: '2999-01-01T00:00:00Z', after: '2000-01-01T00:00:00Z', has: 'link', limit: 5 } }),
  health: () => ({}),
  healthOfDjango: () => ({}),
  info: () => ({}),
  openapi: () => ({}),
};
