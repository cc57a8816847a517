CREATE TABLE IF NOT EXISTS fungible_idempotency (
    record_key TEXT NOT NULL PRIMARY KEY,
    caller BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER,
    headers BLOB,
    body BLOB,
    expires_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS fungible_idempotency_expires ON fungible_idempotency (expires_ms);
CREATE INDEX IF NOT EXISTS fungible_idempotency_caller ON fungible_idempotency (caller, expires_ms);
