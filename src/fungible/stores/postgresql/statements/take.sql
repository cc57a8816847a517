-- One step of the generic cell rate algorithm (contract.gcra) for a cost of $2 microseconds and a tolerance of $3. The
-- time is read once, and after the row's lock is held.
INSERT INTO fungible_rates AS r (key, tat, asked_at, allowed, sweep_at)
SELECT $1::text, CASE WHEN $2::bigint <= $3::bigint THEN now + $2 ELSE now END, now, $2 <= $3, now + $2 + 60000000
FROM (SELECT fungible_now() AS now) AS clock
ON CONFLICT (key) DO UPDATE SET (tat, asked_at, allowed) = (
    SELECT CASE WHEN wanted - now <= $3 THEN wanted ELSE wanted - $2 END, now, wanted - now <= $3
    FROM (
        SELECT now, greatest(r.tat, now) + $2 AS wanted
        FROM (SELECT fungible_now() AS now) AS clock
    ) AS asked
)
RETURNING tat, asked_at, allowed
