-- Assignments of one row are made from left to right, each seeing the ones before: whether the incarnation became ours
-- decides the rest. The answer is the time of expiry, or 0 where something live stands.
INSERT INTO fungible_records (record_key, incarnation, expires_us, sweep_us, fields)
VALUES (
    %(key)s, %(incarnation)s, LAST_INSERT_ID(now_us() + %(ttl_us)s), now_us() + %(ttl_us)s, %(fields)s
)
ON DUPLICATE KEY UPDATE
    incarnation = IF(expires_us > now_us(), incarnation, %(incarnation)s),
    fields = IF(incarnation = %(incarnation)s, %(fields)s, fields),
    expires_us = IF(incarnation = %(incarnation)s, LAST_INSERT_ID(now_us() + %(ttl_us)s), expires_us + LAST_INSERT_ID(0))
