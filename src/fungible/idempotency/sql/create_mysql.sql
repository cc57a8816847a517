CREATE TABLE IF NOT EXISTS fungible_idempotency (
    record_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    caller BINARY(32) NOT NULL,
    fingerprint BINARY(32) NOT NULL,
    status INT,
    headers LONGBLOB,
    body LONGBLOB,
    expires_ms BIGINT NOT NULL,
    INDEX fungible_idempotency_expires (expires_ms),
    INDEX fungible_idempotency_caller (caller, expires_ms)
) ENGINE=InnoDB;
