-- Storage of Room objects. Every key begins with the room, so that one file can hold all rooms (own host) and the
-- SQLite of one object can hold just one (Durable Object). Times are milliseconds.

CREATE TABLE rooms (
    room_id TEXT PRIMARY KEY,
    type TEXT NOT NULL,                 -- direct, group
    name TEXT,
    avatar_url TEXT,
    created_by TEXT,
    created_at INTEGER NOT NULL,
    generation INTEGER NOT NULL         -- rises when a store is restored or forked; a seq is never reused within one
) WITHOUT ROWID;

CREATE TABLE room_members (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,                 -- owner, admin, member
    username TEXT NOT NULL,
    display_name TEXT NOT NULL,
    avatar_url TEXT,
    status TEXT NOT NULL,
    joined_at INTEGER NOT NULL,
    joined_seq INTEGER NOT NULL,
    left_at INTEGER,
    left_seq INTEGER,
    delivered_seq INTEGER NOT NULL,     -- watermarks only rise
    delivered_at INTEGER,
    read_seq INTEGER NOT NULL,
    read_at INTEGER,
    own_seq INTEGER NOT NULL DEFAULT 0, -- newest own message, once it is not among the newest of the room any more
    blocks INTEGER NOT NULL,            -- direct conversations: blocked the other person
    changes INTEGER NOT NULL,           -- changes of role, name or membership; part of the projection's version
    PRIMARY KEY (room_id, user_id)
) WITHOUT ROWID;

-- A message's own row is its event. `nth` counts the messages up to it. `digest` covers what must not change
-- unnoticed: it decides whether a repeated client_id has the same content, and it is checked when a row is read.
CREATE TABLE room_messages (
    room_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,                   -- rises with seq, so it needs no index: each one is a row written per message
    sender_id TEXT,
    client_id TEXT,
    nth INTEGER NOT NULL,
    kind TEXT NOT NULL,                 -- text, image, file, voice, system
    content TEXT NOT NULL,
    reply_to TEXT,
    metadata TEXT,                      -- JSON
    created_at INTEGER NOT NULL,
    edited_at INTEGER,
    deleted_at INTEGER,
    digest BLOB NOT NULL,
    PRIMARY KEY (room_id, seq)
) WITHOUT ROWID;
