-- Compares and writes in one step: a writer that waited for another's lock compares with what that one left.
-- The time to live may be null, which greatest() passes over.
UPDATE fungible_records
SET fields = (fields || $3) - $4::text[],
    size_bytes = size_bytes + $8,
    expires_at = greatest(expires_at, fungible_now() + $7::bigint)
WHERE key = $1 AND incarnation = $2 AND fields @> $5 AND NOT fields ?| $6 AND expires_at > fungible_now()
    AND size_bytes + $8 <= $9
RETURNING expires_at
