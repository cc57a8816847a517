-- Only where exactly the record stands that was read.
UPDATE fungible_records
SET fields = $2,
    size_bytes = $3,
    expires_at = fungible_now() + $5::bigint,
    sweep_at = least(sweep_at, fungible_now() + $5::bigint)
WHERE key = $1 AND incarnation = $4 AND fields = $6 AND expires_at > fungible_now()
RETURNING expires_at, incarnation
