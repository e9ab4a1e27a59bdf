"""`log_timing`: one record for each request, its id, and the formats that records are written in."""
