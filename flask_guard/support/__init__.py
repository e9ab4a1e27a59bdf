"""Small tools that several rooms share. They know neither policies nor runs of requests."""
