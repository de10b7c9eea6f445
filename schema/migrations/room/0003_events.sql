-- Durable changes that are no messages: they share the numbers of the messages, without holes. What they say of a message
-- is read from its row when they are replayed, so that nothing here outlives a deletion.

CREATE TABLE room_events (
    room_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,                 -- edited, deleted, reaction, updated, member_added, member_removed
    message_seq INTEGER,                -- the message it is about
    actor TEXT NOT NULL,
    data TEXT,                          -- JSON: the event; of an edit what it replaced and the seq of the edit before it
    call TEXT,                          -- the call of a gateway that asked for it: between objects one may come again
    created_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, seq)
) WITHOUT ROWID;

-- Per emoji, in order of first use: its length in a byte, its bytes, the number of users (4 bytes, little-endian), their ids.
ALTER TABLE room_messages ADD COLUMN reactions BLOB;
ALTER TABLE room_messages ADD COLUMN edit_seq INTEGER;      -- the newest edit
ALTER TABLE room_messages ADD COLUMN sent_digest BLOB;      -- digest as it was sent, when the row has changed since
ALTER TABLE room_messages ADD COLUMN call TEXT;             -- as of events, of a send without client_id
