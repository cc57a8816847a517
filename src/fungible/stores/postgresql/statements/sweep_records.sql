-- Of the rows that are due, those that have expired go and the others are filed anew; rows in use are left for the
-- next time. In a subquery the clock is read once, which lets the index be used.
WITH due AS (
    SELECT ctid AS place
    FROM fungible_records
    WHERE sweep_at <= (SELECT fungible_now())
    ORDER BY sweep_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM fungible_records
    WHERE ctid = ANY (ARRAY(SELECT place FROM due)) AND expires_at <= fungible_now()
), kept AS (
    UPDATE fungible_records SET sweep_at = expires_at
    WHERE ctid = ANY (ARRAY(SELECT place FROM due)) AND expires_at > fungible_now()
)
SELECT count(*) FROM due
