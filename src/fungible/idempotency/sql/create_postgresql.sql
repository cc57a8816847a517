CREATE TABLE IF NOT EXISTS fungible_idempotency (
    record_key TEXT NOT NULL PRIMARY KEY,
    caller BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    status INTEGER,
    headers BYTEA,
    body BYTEA,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS fungible_idempotency_expires ON fungible_idempotency (expires_ms);
CREATE INDEX IF NOT EXISTS fungible_idempotency_caller ON fungible_idempotency (caller, expires_ms);
