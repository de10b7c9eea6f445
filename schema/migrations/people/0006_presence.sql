-- Projection of Users: what people who may watch a person see of it. Written when it changes.

CREATE TABLE presence (
    user_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,                -- online, away, dnd, offline; whoever is invisible is offline
    last_seen_at INTEGER                -- ms, null while online
) WITHOUT ROWID;
