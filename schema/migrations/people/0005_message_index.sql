-- Full text of messages (G-07), written by Rooms in the background and read by handlers. A room writes batches of its events
-- through the view at the end; `upto` is how far it is, so that a batch that comes twice or late changes nothing, and
-- one with a gap before it waits until the room is loaded again and sees where the index stands.

CREATE TABLE message_rooms (
    ordinal INTEGER PRIMARY KEY,        -- the upper half of the ids of its messages
    room_id TEXT NOT NULL UNIQUE,
    upto INTEGER NOT NULL               -- events (seq) that are in the index
);

CREATE TABLE message_index (
    id INTEGER PRIMARY KEY,             -- ordinal * 2^32 + seq: those of a room lie together, in order
    sender_id TEXT,
    kind TEXT NOT NULL,                 -- text, image, file, voice
    created_at INTEGER NOT NULL,        -- ms
    content TEXT NOT NULL               -- in lower case, character by character; a space behind it: every two begin a group of three
);
CREATE INDEX message_files ON message_index (kind) WHERE kind <> 'text';

-- Which messages have a group of three characters, not where: what is found is compared with the content.
CREATE VIRTUAL TABLE message_fts USING fts5(
    content, content='message_index', content_rowid='id', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
CREATE VIRTUAL TABLE message_groups USING fts5vocab(message_fts, row);

-- Messages that are not in message_fts yet. Entering many together costs a fraction of entering each.
CREATE TABLE message_tail (id INTEGER PRIMARY KEY);

-- What a room writes: events behind `after` up to `upto`; `messages` is JSON, a list of
-- [seq, sender_id, kind, created_at, content], content null for what is not to be found (any more).
CREATE VIEW message_batches AS SELECT room_id, 0 AS after, upto, '' AS messages FROM message_rooms;

CREATE TRIGGER message_batches_insert INSTEAD OF INSERT ON message_batches
WHEN NEW.upto > coalesce((SELECT upto FROM message_rooms WHERE room_id = NEW.room_id), 0)
    AND NEW.after <= coalesce((SELECT upto FROM message_rooms WHERE room_id = NEW.room_id), 0)
BEGIN
    INSERT INTO message_rooms (room_id, upto) VALUES (NEW.room_id, 0) ON CONFLICT DO NOTHING;
    INSERT INTO message_fts (message_fts, rowid, content)
        SELECT 'delete', m.id, m.content FROM message_rooms r CROSS JOIN json_each(NEW.messages) j
        CROSS JOIN message_index m ON m.id = r.ordinal * 4294967296 + json_extract(j.value, '$[0]')
        WHERE r.room_id = NEW.room_id AND m.id NOT IN (SELECT id FROM message_tail);
    DELETE FROM message_tail WHERE id IN (
        SELECT r.ordinal * 4294967296 + json_extract(j.value, '$[0]')
        FROM message_rooms r CROSS JOIN json_each(NEW.messages) j WHERE r.room_id = NEW.room_id);
    INSERT OR REPLACE INTO message_index (id, sender_id, kind, created_at, content)
        SELECT r.ordinal * 4294967296 + json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'),
            json_extract(j.value, '$[2]'), json_extract(j.value, '$[3]'), coalesce(json_extract(j.value, '$[4]') || ' ', '')
        FROM message_rooms r CROSS JOIN json_each(NEW.messages) j WHERE r.room_id = NEW.room_id;
    INSERT INTO message_tail (id)
        SELECT r.ordinal * 4294967296 + json_extract(j.value, '$[0]')
        FROM message_rooms r CROSS JOIN json_each(NEW.messages) j
        WHERE r.room_id = NEW.room_id AND json_extract(j.value, '$[4]') IS NOT NULL ON CONFLICT DO NOTHING;
    DELETE FROM message_index WHERE content = '' AND id IN (
        SELECT r.ordinal * 4294967296 + json_extract(j.value, '$[0]')
        FROM message_rooms r CROSS JOIN json_each(NEW.messages) j WHERE r.room_id = NEW.room_id);
    INSERT INTO message_fts (rowid, content)
        SELECT t.id, m.content FROM message_tail t CROSS JOIN message_index m ON m.id = t.id
        WHERE (SELECT count(*) FROM message_tail) >= 512 ORDER BY t.id;
    DELETE FROM message_tail WHERE (SELECT count(*) FROM message_tail) >= 512;
    UPDATE message_rooms SET upto = NEW.upto WHERE room_id = NEW.room_id;
END;
