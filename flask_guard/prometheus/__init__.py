"""`metrics`: requests counted for Prometheus."""
