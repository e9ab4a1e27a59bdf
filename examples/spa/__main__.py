"""Serve the page on one loopback port and the API on another, until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import threading

from werkzeug.serving import make_server

from .api import create_api
from .pages import create_pages


def main() -> None:
    """Serve the page and the API."""
    parser = argparse.ArgumentParser(prog="python -m examples.spa", description=__doc__)
    parser.add_argument("--page-port", type=int, default=5000)
    parser.add_argument("--api-port", type=int, default=5001)
    options = parser.parse_args()
    page, api = (f"http://localhost:{port}" for port in (options.page_port, options.api_port))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    servers = [
        make_server("localhost", options.page_port, create_pages(api), threaded=True),
        make_server("localhost", options.api_port, create_api(page), threaded=True),
    ]
    print(f"Open {page}, and {page}/search?q=<script>alert(1)</script> to see a script blocked and reported.")
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        for server in servers:
            server.shutdown()


if __name__ == "__main__":
    main()
