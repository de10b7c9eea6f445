-- Accounts, credentials and what belongs to signing in. Times are ms since 1970; ids are UUIDs in hyphenated form.

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    oid TEXT NOT NULL UNIQUE,           -- first 12 bytes of the id, 24 hex
    external_issuer TEXT,
    external_id TEXT,
    username TEXT NOT NULL COLLATE NOCASE UNIQUE,
    display_name TEXT NOT NULL,
    email TEXT UNIQUE,                  -- lower case
    password_hash TEXT,                 -- with its scheme; null for external users
    avatar_url TEXT,
    status_text TEXT NOT NULL DEFAULT '',
    bio TEXT NOT NULL DEFAULT '',
    profile TEXT NOT NULL DEFAULT '{}', -- JSON: mobile, gender, user_type
    role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    token_version INTEGER NOT NULL DEFAULT 0,
    disabled_at INTEGER,
    last_seen_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (external_issuer, external_id)
) STRICT, WITHOUT ROWID;

-- One row per sign-in; its refresh tokens are the family.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    dialect TEXT NOT NULL,
    device TEXT NOT NULL,               -- user agent, cut
    ip TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    ended_at INTEGER,
    end_reason TEXT                     -- logout, logout_all, refresh_reused
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    hash TEXT PRIMARY KEY,              -- keyed hash, hex
    session_id TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_by TEXT                        -- keyed hash of the client instance
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

-- The one conversation of two people, smaller id first.
CREATE TABLE direct_pairs (
    low TEXT NOT NULL,
    high TEXT NOT NULL,
    room_id TEXT NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (low, high)
) STRICT, WITHOUT ROWID;

-- Token buckets of HTTP (guarantees 3.3).
CREATE TABLE rate_limits (
    key TEXT PRIMARY KEY,
    tokens REAL NOT NULL,
    at INTEGER NOT NULL,                -- when tokens was right
    allowed INTEGER NOT NULL            -- outcome of the last take: 0, 1
) STRICT, WITHOUT ROWID;

CREATE INDEX rate_limits_by_age ON rate_limits (at);
