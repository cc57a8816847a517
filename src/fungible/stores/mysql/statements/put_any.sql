-- Three statements in one packet. The second answers with the incarnation that stands: ours, that of the live record
-- which was written over, or 0, a tombstone's, where nothing was written. Assignments of one row are made from left to
-- right, each seeing the ones before. The third tells when the record expires.
SET @fungible_expires_us = now_us() + %(ttl_us)s;
INSERT INTO fungible_records (record_key, incarnation, expires_us, sweep_us, fields)
VALUES (
    %(key)s, LAST_INSERT_ID(%(incarnation)s), @fungible_expires_us, @fungible_expires_us, %(fields)s
)
ON DUPLICATE KEY UPDATE
    incarnation = LAST_INSERT_ID(IF(expires_us > now_us(), incarnation, %(incarnation)s)),
    fields = IF(incarnation = 0, fields, %(fields)s),
    expires_us = IF(incarnation = 0, expires_us, @fungible_expires_us);
SELECT @fungible_expires_us
