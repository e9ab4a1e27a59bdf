"""`flask_guard.wsgi` works where Flask is not installed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys

HIDDEN = set({hidden})

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Hide())
assert not HIDDEN & set(sys.modules)

import http.client
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server
from flask_guard.wsgi import Headers, RequestID, RequestIds, RewriteBody, Timing, stack

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "5")])
    return [b"hello"]

class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass

layers = [RequestID(ids=RequestIds(trust=False)), Timing(logger="access"), Headers(add={{"X-A": "b"}})]
server = make_server("127.0.0.1", 0, stack(app, *layers, RewriteBody(rewrite=bytes.upper)), handler_class=Quiet)
thread = threading.Thread(target=server.handle_request)
thread.start()
connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
connection.request("GET", "/", headers={{"X-Request-ID": "from-outside"}})
response = connection.getresponse()
print(response.status, response.read().decode(), response.headers["X-A"], len(response.headers["X-Request-ID"]))
thread.join()
server.server_close()
assert not HIDDEN & set(sys.modules)
"""
HIDDEN = [
    "flask",
    "werkzeug",
    "jinja2",
    "click",
    "blinker",
    "itsdangerous",
    "markupsafe",
    "limits",
    "flask_limiter",
    "flask_cors",
]


def test_layers_serve_requests_where_flask_is_not_installed() -> None:
    program = PROGRAM.format(hidden=HIDDEN)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout == "200 HELLO b 32\n"
    assert re.fullmatch(r"\S+ INFO  GET / 200 \d+\.\d ms 5 B \[\w{8}\]\n", done.stderr)
