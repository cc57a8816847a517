-- The schema whose tables are there, and can't be seen for want of a right.
SELECT n.nspname
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = 'fungible_migrations' AND NOT has_schema_privilege(n.oid, 'USAGE')
    AND n.nspname = ANY (string_to_array(replace(current_setting('search_path'), ' ', ''), ','))
