-- Whatever stands, unless it is a tombstone. A live record keeps its incarnation.
INSERT INTO fungible_records AS r (key, fields, size_bytes, incarnation, expires_at, sweep_at)
SELECT $1::text, $2::jsonb, $3, $4::bytea, until, until
FROM (SELECT fungible_now() + $5::bigint AS until) AS life
ON CONFLICT (key) DO UPDATE SET
    fields = excluded.fields,
    size_bytes = excluded.size_bytes,
    incarnation = CASE WHEN r.expires_at > fungible_now() THEN r.incarnation ELSE excluded.incarnation END,
    expires_at = fungible_now() + $5::bigint,
    sweep_at = least(r.sweep_at, excluded.sweep_at)
WHERE r.fields IS NOT NULL OR r.expires_at <= fungible_now()
RETURNING expires_at, incarnation
