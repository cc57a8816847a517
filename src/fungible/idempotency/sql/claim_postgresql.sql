-- The lock is this transaction's, and ends with it, however that ends. Who does not get it does not wait for it.
-- The timeout is this transaction's, too, set here as it costs no round trip: a machine that is gone says no goodbye.
INSERT INTO fungible_idempotency (record_key, caller, fingerprint, expires_ms)
SELECT CAST(:key AS TEXT), CAST(:caller AS BYTEA), CAST(:fingerprint AS BYTEA), CAST(:expires_ms AS BIGINT)
WHERE pg_try_advisory_xact_lock(CAST(:lock AS BIGINT))
AND (CAST(:abandon AS TEXT) IS NULL
     OR set_config('idle_in_transaction_session_timeout', CAST(:abandon AS TEXT), TRUE) IS NOT NULL)
ON CONFLICT (record_key) DO UPDATE
SET caller = excluded.caller, fingerprint = excluded.fingerprint, expires_ms = excluded.expires_ms,
    status = NULL, headers = NULL, body = NULL
WHERE fungible_idempotency.expires_ms <= CAST(:now_ms AS BIGINT)
RETURNING 1
