"""How many requests a client may make: `limit`, `limit.concurrent`, `ban`, and where they are counted."""
