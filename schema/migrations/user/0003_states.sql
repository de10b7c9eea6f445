-- What a person chose to be (E-053), what handlers were told of it, and gateways that only keep sessions (G-17).

ALTER TABLE user_presence ADD COLUMN state TEXT NOT NULL DEFAULT 'online';  -- online, away, dnd, invisible
ALTER TABLE user_presence ADD COLUMN text TEXT;
ALTER TABLE user_presence ADD COLUMN last_seen INTEGER;                     -- ms, when the person was seen online last
ALTER TABLE user_presence ADD COLUMN shown TEXT NOT NULL DEFAULT 'offline'; -- the word that handlers were told
ALTER TABLE user_presence ADD COLUMN version INTEGER NOT NULL DEFAULT 0;    -- of that row, rises with each change

ALTER TABLE user_sockets ADD COLUMN live INTEGER NOT NULL DEFAULT 1;        -- 0: no socket, only sessions to be recovered
