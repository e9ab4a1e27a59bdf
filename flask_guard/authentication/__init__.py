"""`require_auth`: passwords, tokens and login sessions; JSON Web Tokens."""
