"""Tests of `limit(batch=…)`."""
