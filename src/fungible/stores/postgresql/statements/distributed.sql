SELECT logicalrel::text FROM pg_dist_partition WHERE logicalrel::text LIKE '%fungible\_%'
