"""`require_request` and `same_origin`: the rules that a request must keep before any other policy works for it."""
