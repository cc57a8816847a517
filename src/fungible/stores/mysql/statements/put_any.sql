-- The answer is the incarnation that stands: ours, that of the live record which was written over, or 0, a tombstone's, where
-- nothing was written. Assignments of one row are made from left to right, each seeing the ones before.
INSERT INTO fungible_records (record_key, incarnation, expires_us, sweep_us, fields)
VALUES (
    %(key)s, LAST_INSERT_ID(%(incarnation)s), now_us() + %(ttl_us)s, now_us() + %(ttl_us)s, %(fields)s
)
ON DUPLICATE KEY UPDATE
    incarnation = LAST_INSERT_ID(IF(expires_us > now_us(), incarnation, %(incarnation)s)),
    fields = IF(incarnation = 0, fields, %(fields)s),
    expires_us = IF(incarnation = 0, expires_us, now_us() + %(ttl_us)s)
