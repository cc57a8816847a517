"""Tests of fungible.idempotency."""
