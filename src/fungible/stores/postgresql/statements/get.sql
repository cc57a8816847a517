-- A tombstone has null fields.
SELECT fields, expires_at, incarnation
FROM fungible_records
WHERE key = $1 AND expires_at > fungible_now()
