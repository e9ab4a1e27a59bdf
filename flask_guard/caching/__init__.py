"""`cache`: who may store a response, and for how long."""
