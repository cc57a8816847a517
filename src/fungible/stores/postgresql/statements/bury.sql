-- Makes it a tombstone; one that lives longer already stays so.
INSERT INTO fungible_records AS r (key, fields, size_bytes, incarnation, expires_at, sweep_at)
SELECT $1::text, NULL, 0, '', until, until
FROM (SELECT fungible_now() + $2::bigint AS until) AS life
ON CONFLICT (key) DO UPDATE SET
    fields = NULL,
    size_bytes = 0,
    incarnation = '',
    expires_at = CASE WHEN r.fields IS NULL THEN greatest(r.expires_at, excluded.expires_at) ELSE excluded.expires_at END,
    sweep_at = least(r.sweep_at, excluded.sweep_at)
