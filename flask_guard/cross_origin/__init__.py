"""`cors`: let pages of other origins call an endpoint."""
