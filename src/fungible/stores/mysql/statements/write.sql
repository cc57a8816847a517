-- {fields}, {expires_us} and {guards} are filled in by layout.py. The answer is the time of expiry; no row matches where
-- the record is gone or a guard does not hold.
UPDATE fungible_records
SET fields = {fields}, expires_us = LAST_INSERT_ID({expires_us})
WHERE record_key = %(key)s AND incarnation = %(incarnation)s AND expires_us > moment_us(){guards}
