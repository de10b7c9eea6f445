-- Finding people, their settings, forgotten passwords, and mail that waits for a sender.

-- Prefixes of display names, and the narrow table that a search inside names reads.
CREATE INDEX users_by_display_name ON users (display_name COLLATE NOCASE, username) WHERE disabled_at IS NULL;

-- Whether the person sends and sees read marks: readReceipts of the settings, where lists can join it.
ALTER TABLE users ADD COLUMN read_receipts INTEGER NOT NULL DEFAULT 1;

CREATE TABLE user_settings (
    user_id TEXT PRIMARY KEY,
    settings TEXT NOT NULL              -- JSON object of what differs from the defaults
) STRICT, WITHOUT ROWID;

CREATE TABLE password_resets (
    hash TEXT PRIMARY KEY,              -- keyed hash of the token, hex
    user_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX password_resets_by_user ON password_resets (user_id);

-- Written with what causes it, deleted when it was sent or is of no use any more. It holds no secret: the token of a
-- reset is a keyed hash of `id`, which whoever sends computes.
CREATE TABLE mail (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- reset
    expires_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,            -- not before this time; moved on by each try
    tries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
