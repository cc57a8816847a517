INSERT INTO fungible_items (topic, number, expires_us, item)
VALUES (%(topic)s, %(number)s, now_us() + %(ttl_us)s, %(item)s)
