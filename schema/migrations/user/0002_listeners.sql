-- Where objects sleep: who wants to be told, and what watchers were told last.

CREATE TABLE user_listeners (
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,                 -- gateway/<name>: presence; room/<id>: where the sockets are
    epoch INTEGER NOT NULL,             -- life of the gateway
    PRIMARY KEY (user_id, name)
) WITHOUT ROWID;

CREATE TABLE user_presence (
    user_id TEXT PRIMARY KEY,
    online INTEGER NOT NULL,            -- what watchers are told
    told INTEGER NOT NULL,              -- whether all of them have been
    offline_at INTEGER                  -- since the last socket went: the end of the grace
) WITHOUT ROWID;
