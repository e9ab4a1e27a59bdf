"""`require_request`: the rules that a request must keep before any other policy works for it."""
