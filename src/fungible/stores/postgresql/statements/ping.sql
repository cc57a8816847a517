-- What is to be known of a server before it is used. Citus lists in pg_dist_partition what it has spread over others.
SELECT coalesce(max(number), 0) AS version,
    current_setting('transaction_read_only') = 'on' AS read_only,
    current_setting('server_version_num')::integer AS server,
    to_regclass('pg_dist_partition') IS NOT NULL AS citus
FROM fungible_migrations
