-- What a member wants to be told of, why somebody is no longer one, whom messages mention, and who knows of that.

ALTER TABLE room_members ADD COLUMN muted_until INTEGER;                    -- ms
ALTER TABLE room_members ADD COLUMN level TEXT NOT NULL DEFAULT 'all';      -- all, mentions, none
ALTER TABLE room_members ADD COLUMN left_reason TEXT;                       -- left, removed, deleted
ALTER TABLE room_messages ADD COLUMN mentions TEXT;                         -- JSON, resolved when it was written
ALTER TABLE rooms ADD COLUMN told INTEGER NOT NULL DEFAULT 1;   -- whoever came or went below this seq knows it; 0: nobody
