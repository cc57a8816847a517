-- Instants are Unix microseconds by the server's clock. Keys and topics are bytes: in a column of text, collations would
-- take "a" for "A" and "a" for "a ". Nothing in MySQL rolls back a CREATE, so each statement may be repeated.
--
-- Every read and write of a session moves expires_us. The sweeper's index is on sweep_us, which stays: it comes to a row
-- then and, if the row is still live, files it anew. So ordinary writes change no index.
CREATE TABLE IF NOT EXISTS fungible_records (
    record_key VARBINARY(512) NOT NULL PRIMARY KEY,
    -- 0 makes the row a tombstone: until it expires nothing is written.
    incarnation BIGINT UNSIGNED NOT NULL,
    expires_us BIGINT NOT NULL,
    sweep_us BIGINT NOT NULL,
    -- ,"name":"base64" for each field: see layout.py
    fields LONGBLOB NOT NULL,
    KEY fungible_records_sweep (sweep_us)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS fungible_rates (
    rate_key VARBINARY(512) NOT NULL PRIMARY KEY,
    -- Theoretical arrival time. One that has passed says no more than no row.
    tat_us BIGINT NOT NULL,
    sweep_us BIGINT NOT NULL,
    KEY fungible_rates_sweep (sweep_us)
) ENGINE = InnoDB;

-- The row of a topic is locked while an item is added: items become visible in the order of their numbers.
CREATE TABLE IF NOT EXISTS fungible_topics (
    topic VARBINARY(512) NOT NULL PRIMARY KEY,
    last_number BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    sweep_us BIGINT NOT NULL,
    KEY fungible_topics_sweep (sweep_us)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS fungible_items (
    topic VARBINARY(512) NOT NULL,
    number BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    item LONGBLOB NOT NULL,
    PRIMARY KEY (topic, number),
    KEY fungible_items_expires (expires_us)
) ENGINE = InnoDB;
