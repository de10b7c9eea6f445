-- Storage of a Gateway where objects sleep and each has a database of its own.

-- The life of the gateway that its sockets belong to: one row, written by the host.
CREATE TABLE gateway_epoch (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
);

-- Users whose User objects were told of sockets here.
CREATE TABLE gateway_users (
    user_id TEXT PRIMARY KEY
) WITHOUT ROWID;
