"""The cache: one computation for all, invalidation in the middle of it, failing stores, and RFC 9111."""
