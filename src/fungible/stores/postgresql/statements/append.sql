-- Ids are given under the lock of the topic's row, which is held to the commit: whoever sees an item sees all before it.
-- They follow the clock, so that they go on above all earlier ones when a topic long unused was forgotten: a day after
-- its last item, against clocks that are set back.
WITH counter AS (
    INSERT INTO fungible_topics AS t (topic, last_id, expires_at, sweep_at)
    SELECT $1::text, now, until, until
    FROM (SELECT now, now + $3::bigint + 86400000000 AS until FROM (SELECT fungible_now() AS now) AS clock) AS life
    ON CONFLICT (topic) DO UPDATE SET
        last_id = greatest(t.last_id + 1, fungible_now()),
        expires_at = greatest(t.expires_at, excluded.expires_at)
    RETURNING last_id
)
INSERT INTO fungible_items (topic, id, item, expires_at)
SELECT $1::text, last_id, $2::bytea, fungible_now() + $3::bigint
FROM counter
