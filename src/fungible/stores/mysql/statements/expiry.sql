-- When what was just written expires. Deleted since, it would have lived for its time.
SELECT COALESCE(MAX(expires_us), now_us() + %(ttl_us)s)
FROM fungible_records
WHERE record_key = %(key)s AND incarnation = %(incarnation)s
