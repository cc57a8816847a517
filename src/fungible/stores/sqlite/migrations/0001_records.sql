-- Text is compared by its bytes: "a" and "A", "a" and "a " are different keys. Times are Unix seconds.

CREATE TABLE fungible_records (
  key TEXT NOT NULL PRIMARY KEY,
  incarnation BLOB NOT NULL,
  -- A MessagePack map from names to values. NULL makes the row a tombstone: until it expires nothing is written.
  fields BLOB,
  expires_at REAL NOT NULL
);

CREATE INDEX fungible_records_expires_at ON fungible_records (expires_at);

CREATE TABLE fungible_rates (
  key TEXT NOT NULL PRIMARY KEY,
  -- Theoretical arrival time, in microseconds. One that has passed says no more than no row.
  tat_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX fungible_rates_tat_us ON fungible_rates (tat_us);

CREATE TABLE fungible_items (
  -- One writer at a time draws it and commits before the next one draws: ids are in the order of commits.
  -- AUTOINCREMENT: never the id of an item that was swept, which readers have passed already.
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  expires_at REAL NOT NULL,
  item BLOB NOT NULL
);

CREATE INDEX fungible_items_topic ON fungible_items (topic, id);

CREATE INDEX fungible_items_expires_at ON fungible_items (expires_at);
