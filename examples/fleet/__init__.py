"""A fleet of servers that share one limit. Run it with: python -m examples.fleet"""

LIMIT = 50
"""The requests that the fleet lets through for one client in a minute."""
