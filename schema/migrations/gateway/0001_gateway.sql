-- Storage of a Gateway where the host keeps one database per object: its epoch, one row.

CREATE TABLE gateway_epoch (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
);
