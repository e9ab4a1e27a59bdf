"""`cors`: which pages of other origins may call an endpoint."""
