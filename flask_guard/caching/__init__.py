"""`cache`: permission for caches to store a response, for a time."""
