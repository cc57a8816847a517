-- What stands under the key, a tombstone too.
SELECT incarnation, expires_us, fields
FROM fungible_records
WHERE record_key = %(key)s AND expires_us > now_us()
