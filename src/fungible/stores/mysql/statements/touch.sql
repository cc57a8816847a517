UPDATE fungible_records
SET expires_us = LAST_INSERT_ID(GREATEST(expires_us, now_us() + %(ttl_us)s))
WHERE record_key = %(key)s AND incarnation > 0 AND expires_us > moment_us()
