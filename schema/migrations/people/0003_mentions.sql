-- Messages that mention somebody, written by Rooms: whoever has read less than `nth` messages has them unread.

CREATE TABLE mentions (
    room_id TEXT NOT NULL,
    nth INTEGER NOT NULL,               -- of the message, among the messages of its conversation
    sender TEXT,
    everybody INTEGER NOT NULL,         -- @all or @here
    users TEXT NOT NULL,                -- JSON: ids
    PRIMARY KEY (room_id, nth)
) WITHOUT ROWID;

ALTER TABLE members_by_user ADD COLUMN muted_until INTEGER;                 -- ms
ALTER TABLE members_by_user ADD COLUMN level TEXT NOT NULL DEFAULT 'all';   -- all, mentions, none
