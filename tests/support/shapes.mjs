// The contract's common objects (section 3) and error shapes (2.1), as checks.
import assert from 'node:assert/strict';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const keys = (object, wanted, what) => assert.deepEqual(Object.keys(object).sort(), [...wanted].sort(), `keys of ${what}`);
export const isId = (value) => assert.match(String(value), UUID, 'a UUIDv7');
export const isTime = (value) => assert.match(String(value), TIME, 'ISO 8601 UTC with milliseconds');
const isCount = (value) => assert.ok(Number.isSafeInteger(value) && value >= 0, `${value} is no count`);

export function isOwnUser(user) {
  keys(user, ['id', 'username', 'display_name', 'avatar_url', 'status', 'email', 'bio', 'created_at', 'presence', 'role'], 'own record');
  isId(user.id);
  isTime(user.created_at);
  assert.equal(typeof user.status, 'string');
}

const MESSAGE = ['id', 'conversation_id', 'seq', 'client_id', 'sender_id', 'sender_username', 'sender_avatar_url', 'content', 'type', 'file_url', 'attachments', 'reply_to', 'reactions', 'read_by',
  'created_at', 'edited_at', 'deleted_at', 'metadata'];

export function isMessage(message, wanted = {}, extra = []) {
  keys(message, [...MESSAGE, ...extra], 'message');
  isId(message.id);
  isId(message.conversation_id);
  assert.ok(message.seq >= 1);
  isTime(message.created_at);
  assert.deepEqual(message.attachments, []);
  assert.deepEqual(message.reactions, []);
  assert.ok(Array.isArray(message.read_by));
  for (const name of ['file_url', 'edited_at', 'deleted_at', 'sender_avatar_url']) assert.equal(message[name], null, name);
  for (const [name, value] of Object.entries(wanted)) assert.deepEqual(message[name], value, name);
}

/** E-005: the row, and `conversationId` again. */
export function isMessageEvent(message, wanted = {}) {
  isMessage(message, wanted, ['conversationId']);
  assert.equal(message.conversationId, message.conversation_id);
}

export function isMember(member) {
  keys(member, ['id', 'username', 'display_name', 'avatar_url', 'status', 'role', 'joined_at', 'delivered_seq', 'read_seq'], 'member');
  isId(member.id);
  isTime(member.joined_at);
  assert.ok(['owner', 'admin', 'member'].includes(member.role));
  isCount(member.delivered_seq);
  isCount(member.read_seq);
}

export function isConversation(conversation, { listed = false } = {}) {
  const base = ['id', 'type', 'name', 'avatar_url', 'created_by', 'created_at', 'seq', 'members', 'mentionCount', 'mutedUntil', 'activeCall'];
  keys(conversation, listed ? [...base, 'lastMessage', 'unreadCount'] : base, 'conversation');
  isId(conversation.id);
  isTime(conversation.created_at);
  isCount(conversation.seq);
  conversation.members.forEach(isMember);
  if (listed) {
    isCount(conversation.unreadCount);
    if (conversation.lastMessage) isMessage(conversation.lastMessage);
  }
}

const SHAPES = {
  chatcall(body, code) {
    assert.equal(typeof body.error, 'string');
    assert.equal(body.code, code);
    assert.equal(body.message, body.error);
    return ['error', 'code', 'message'];
  },
  samwaad(body, code, status) {
    assert.equal(body.statusCode, status);
    assert.equal(typeof body.message, 'string');
    assert.equal(typeof body.error, 'string');
    assert.equal(body.code, code);
    return ['statusCode', 'message', 'error', 'code'];
  },
  meet(body, code) {
    assert.equal(body.success, false);
    assert.equal(body.error.code, code);
    assert.equal(typeof body.error.message, 'string');
    return ['success', 'error'];
  },
  django(body, code, status) {
    assert.equal(typeof body.error, 'string');
    assert.equal(body.code, status);
    assert.equal(body.reason, code);
    isTime(body.timestamp);
    return ['error', 'code', 'timestamp', 'reason'];
  },
};

const OPTIONAL = ['field', 'retryAfter', 'limit'];

/** An error answer in its prefix's shape, with nothing more than the contract allows. */
export function isError(answer, status, code, { field, shape = 'chatcall' } = {}) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers.get('content-type'), /^application\/json; ?charset=utf-8$/i);
  const known = SHAPES[shape](answer.body, code, status);
  const extra = Object.keys(answer.body).filter((name) => !known.includes(name));
  assert.ok(extra.every((name) => OPTIONAL.includes(name)), `extra keys ${extra}`);
  if (field !== undefined) assert.equal(answer.body.field, field);
  assert.doesNotMatch(answer.text, /sqlite|libsql|select |insert |panick|\.rs:|\/src\/|stack/i);
}
