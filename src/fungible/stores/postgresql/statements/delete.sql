-- A tombstone stays.
DELETE FROM fungible_records WHERE key = $1 AND fields IS NOT NULL
