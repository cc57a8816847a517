-- Instants are Unix microseconds: exact in both directions, and compared as integers. The clock is the database's, so
-- that all instances go by one. Never constant within a statement: what waited for a lock must not act at an old time.
CREATE FUNCTION fungible_now() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
AS 'SELECT (date_part(''epoch'', clock_timestamp()) * 1000000)::bigint';

-- Every read and write of a session moves expires_at. Were it indexed, each would write every index anew (PostgreSQL
-- updates a row within its page, without touching indexes, only where no indexed column changes). So the index is on
-- sweep_at, which stays: the sweeper comes to a row then and, if it is still live, moves sweep_at on. The fillfactor
-- leaves room in each page for the next version of a row.
CREATE TABLE fungible_records (
    key text COLLATE "C" PRIMARY KEY,
    -- {name: base64}; null: a tombstone
    fields jsonb,
    -- Of names and values: a change knows by how much it adds, but not what others have added since.
    size_bytes integer NOT NULL,
    incarnation bytea NOT NULL,
    expires_at bigint NOT NULL,
    sweep_at bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX fungible_records_sweep ON fungible_records (sweep_at);

-- asked_at and allowed are the last answer: what the statement that takes gives back.
CREATE TABLE fungible_rates (
    key text COLLATE "C" PRIMARY KEY,
    tat bigint NOT NULL,
    asked_at bigint NOT NULL,
    allowed boolean NOT NULL,
    sweep_at bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX fungible_rates_sweep ON fungible_rates (sweep_at);

-- The row of a topic is locked while an item is added: items become visible in the order of their ids.
CREATE TABLE fungible_topics (
    topic text COLLATE "C" PRIMARY KEY,
    last_id bigint NOT NULL,
    expires_at bigint NOT NULL,
    sweep_at bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX fungible_topics_sweep ON fungible_topics (sweep_at);

-- Items are never changed: an index on their expiry costs no more than its one entry.
CREATE TABLE fungible_items (
    topic text COLLATE "C" NOT NULL,
    id bigint NOT NULL,
    item bytea NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (topic, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX fungible_items_expiry ON fungible_items (expires_at);
