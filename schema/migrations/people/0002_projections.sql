-- Projections: rows that Room and User objects write idempotently (`version` rises per key) and handlers only read.

CREATE TABLE conversation_heads (
    room_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,                 -- direct, group
    name TEXT,
    avatar_url TEXT,
    created_by TEXT,
    created_at INTEGER NOT NULL,        -- ms
    generation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    message_count INTEGER NOT NULL,     -- messages with seq <= seq
    last_sender TEXT,                   -- who sent the last message: unread is 0 for that person
    last_message TEXT,                  -- wire Message as JSON, null while there is none
    active_at INTEGER NOT NULL          -- ms, newest activity
) WITHOUT ROWID;

CREATE TABLE members_by_user (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    role TEXT NOT NULL,                 -- owner, admin, member
    joined_at INTEGER NOT NULL,         -- ms
    left_at INTEGER,                    -- ms, null while a member
    delivered_seq INTEGER NOT NULL,
    read_seq INTEGER NOT NULL,
    read_count INTEGER NOT NULL,        -- messages read, or followed by an own one: unread = message_count - read_count
    PRIMARY KEY (user_id, room_id)
) WITHOUT ROWID;

CREATE INDEX members_by_room ON members_by_user (room_id);

CREATE TABLE contacts (
    user_id TEXT NOT NULL,
    other_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,               -- none, out, in, accepted, blocked: seen from user_id's side
    created_at INTEGER NOT NULL,        -- ms
    PRIMARY KEY (user_id, other_id)
) WITHOUT ROWID;

CREATE INDEX contacts_by_other ON contacts (other_id, status);
