SELECT coalesce(max(number), 0), current_setting('transaction_read_only') FROM fungible_migrations
