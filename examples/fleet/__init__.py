"""A fleet of servers that keep one limit together. Run it with: python -m examples.fleet"""

LIMIT = 50
"""Requests a minute that one client may make, of the whole fleet."""
