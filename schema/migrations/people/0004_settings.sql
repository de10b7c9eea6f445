-- Finding people, their settings, forgotten passwords, and mail that waits for a sender.

-- People are found by the beginning of a name (two indexes) and by any three characters inside (a full text).
CREATE INDEX users_by_display_name ON users (display_name COLLATE NOCASE);

CREATE TABLE user_names (
    n INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    names TEXT NOT NULL                 -- username, line feed, display name
) STRICT;

CREATE VIRTUAL TABLE user_names_fts USING fts5(names, content='user_names', content_rowid='n', tokenize='trigram');

CREATE TRIGGER user_names_insert AFTER INSERT ON user_names BEGIN
    INSERT INTO user_names_fts (rowid, names) VALUES (NEW.n, NEW.names);
END;

CREATE TRIGGER user_names_update AFTER UPDATE ON user_names BEGIN
    INSERT INTO user_names_fts (user_names_fts, rowid, names) VALUES ('delete', OLD.n, OLD.names);
    INSERT INTO user_names_fts (rowid, names) VALUES (NEW.n, NEW.names);
END;

CREATE TRIGGER user_names_delete AFTER DELETE ON user_names BEGIN
    INSERT INTO user_names_fts (user_names_fts, rowid, names) VALUES ('delete', OLD.n, OLD.names);
END;

INSERT INTO user_names (user_id, names) SELECT id, username || char(10) || display_name FROM users;

CREATE TRIGGER users_named AFTER INSERT ON users BEGIN
    INSERT INTO user_names (user_id, names) VALUES (NEW.id, NEW.username || char(10) || NEW.display_name);
END;

CREATE TRIGGER users_renamed AFTER UPDATE OF username, display_name ON users
WHEN NEW.username || char(10) || NEW.display_name <> OLD.username || char(10) || OLD.display_name BEGIN
    UPDATE user_names SET names = NEW.username || char(10) || NEW.display_name WHERE user_id = NEW.id;
END;

CREATE TRIGGER users_gone AFTER DELETE ON users BEGIN
    DELETE FROM user_names WHERE user_id = OLD.id;
END;

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
