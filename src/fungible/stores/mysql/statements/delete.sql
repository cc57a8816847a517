-- A live tombstone stays.
DELETE FROM fungible_records
WHERE record_key = %(key)s AND (incarnation > 0 OR expires_us <= now_us())
