-- A tombstone, which another one never shortens. Assignments are made from left to right.
INSERT INTO fungible_records (record_key, incarnation, expires_us, sweep_us, fields)
VALUES (%(key)s, 0, now_us() + %(ttl_us)s, now_us() + %(ttl_us)s, '')
ON DUPLICATE KEY UPDATE
    expires_us = IF(incarnation = 0, GREATEST(expires_us, now_us() + %(ttl_us)s), now_us() + %(ttl_us)s),
    incarnation = 0,
    fields = ''
