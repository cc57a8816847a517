-- The next number of a topic, given under the lock of its row, which is held to the commit: whoever sees an item sees all
-- before it. Numbers follow the clock, so that they go on above all earlier ones when a topic long unused was forgotten: a
-- day after its last item, against clocks that are set back.
INSERT INTO fungible_topics (topic, last_number, expires_us, sweep_us)
VALUES (
    %(topic)s, LAST_INSERT_ID(now_us()), now_us() + %(ttl_us)s + 86400000000, now_us() + %(ttl_us)s + 86400000000
)
ON DUPLICATE KEY UPDATE
    last_number = LAST_INSERT_ID(GREATEST(last_number + 1, now_us())),
    expires_us = GREATEST(expires_us, now_us() + %(ttl_us)s + 86400000000)
