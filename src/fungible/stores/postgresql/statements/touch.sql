UPDATE fungible_records
SET expires_at = greatest(expires_at, fungible_now() + $2::bigint)
WHERE key = $1 AND fields IS NOT NULL AND expires_at > fungible_now()
RETURNING expires_at
