-- Storage of User objects. Every key begins with the user. Times are milliseconds.

-- Where the user's sockets are: verified with the gateway after a restart.
CREATE TABLE user_sockets (
    user_id TEXT NOT NULL,
    gateway TEXT NOT NULL,
    epoch INTEGER NOT NULL,             -- life of the gateway
    PRIMARY KEY (user_id, gateway)
) WITHOUT ROWID;

CREATE TABLE user_revoked (
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, session_id)
) WITHOUT ROWID;

CREATE TABLE user_state (
    user_id TEXT PRIMARY KEY,
    min_version INTEGER NOT NULL        -- tokens with a lower `ver` are dead
) WITHOUT ROWID;

-- One side of each pair of people; the other side is in the other's object.
CREATE TABLE user_contacts (
    user_id TEXT NOT NULL,
    other_id TEXT NOT NULL,
    status TEXT NOT NULL,               -- none, out, in, accepted, blocked
    blocked_by INTEGER NOT NULL,        -- the other person blocked this one
    version INTEGER NOT NULL,           -- of this side, rises with each change
    other_version INTEGER NOT NULL,     -- newest change of the other side that was applied
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, other_id)
) WITHOUT ROWID;

-- Messages to other objects that must survive a crash: deleted on reply, sent again at the start of a life.
CREATE TABLE user_outbox (
    user_id TEXT NOT NULL,
    id INTEGER NOT NULL,
    target TEXT NOT NULL,               -- <kind>/<name>
    msg TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (user_id, id)
) WITHOUT ROWID;
