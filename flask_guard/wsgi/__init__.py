"""What works below Flask, on any WSGI application. Its modules import neither Flask nor the rest of the package."""
