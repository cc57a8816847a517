SELECT incarnation, expires_us, fields
FROM fungible_records
WHERE record_key = %(key)s AND incarnation > 0 AND expires_us > now_us()
