WITH due AS (
    SELECT ctid AS place
    FROM fungible_items
    WHERE expires_at <= (SELECT fungible_now())
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM fungible_items WHERE ctid = ANY (ARRAY(SELECT place FROM due))
)
SELECT count(*) FROM due
