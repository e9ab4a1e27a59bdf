"""`require_request` and `same_origin`: rules that a request must keep before other policies act on it."""
