"""A page on one origin that calls a guarded API on another. Run it with: python -m examples.spa

- `pages.py`: the page, its Content-Security-Policy with nonces, and the collector of what browsers block.
- `api.py`: a public read, a log-in, and a write that needs the session, for this page alone.
- `static/spa.js`: the script of the page.
"""
