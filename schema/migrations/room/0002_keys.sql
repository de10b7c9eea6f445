-- Keys of repeated sends, in bundles: an index on messages would be a row written with every one of them. The keys of
-- messages above the newest bundle are read from the messages.

CREATE TABLE room_keys (
    room_id TEXT NOT NULL,
    last_seq INTEGER NOT NULL,          -- newest message in it
    sent_at INTEGER NOT NULL,           -- when that was sent
    keys BLOB NOT NULL,                 -- per key 16 bytes, little-endian: hash of sender and client_id, seq
    PRIMARY KEY (room_id, last_seq)
) WITHOUT ROWID;
