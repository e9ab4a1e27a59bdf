"""What the rules for requests cost, over the empty plan. Run with: python -m tests.benchmarks.request_rules"""

from __future__ import annotations

import argparse
from io import BytesIO
from typing import Any

from flask import Flask

from flask_guard import Guard, Policy, require_request, same_origin
from tests.benchmarks.overhead import Variant, measure

BODY = b'{"stars": 5}'
ROWS: dict[str, list[Policy]] = {
    "json": [require_request(json=True)],
    "max_body": [require_request(max_body=10_000)],
    "max_body, chunked": [require_request(max_body=10_000)],
    "https": [require_request(https=True)],
    "hosts": [require_request(hosts=["api.example.com", "*.example.com"])],
    "addresses": [require_request(addresses=["10.0.0.0/8", "192.0.2.0/24"])],
    "headers": [require_request(headers=["X-Tenant"])],
    "same_origin": [same_origin],
    "same_origin, old": [same_origin],
    "all of these": [
        same_origin,
        require_request(
            json=True,
            max_body=10_000,
            https=True,
            hosts=["api.example.com"],
            addresses="192.0.2.0/24",
            headers="X-Tenant",
        ),
    ],
}


class Posted(Variant):
    """A request with a body."""

    def request(self) -> None:
        self.environ["wsgi.input"] = BytesIO(BODY)
        body = self.app(self.environ.copy(), lambda status, headers, exc_info=None: _check(status))
        for _ in body:
            pass
        body.close()  # type: ignore[attr-defined]


def _check(status: str) -> Any:
    if not status.startswith("200"):
        raise RuntimeError(f"the benchmark's request was answered with {status}")


def variants() -> list[Variant]:
    """Return an app without policies, and one for each rule."""
    headers = {"X-Tenant": "acme", "Origin": "https://api.example.com", "Sec-Fetch-Site": "same-origin"}
    client = Flask("environ").test_client()
    made = client.post("/", data=BODY, content_type="application/json", headers=headers).request.environ
    fields = {key: value for key, value in made.items() if not key.startswith("werkzeug.")}
    fields |= {"REMOTE_ADDR": "192.0.2.1", "HTTP_HOST": "api.example.com", "wsgi.url_scheme": "https"}
    chunked = {**fields, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    del chunked["CONTENT_LENGTH"]
    old = {**fields}
    del old["HTTP_SEC_FETCH_SITE"]
    found: list[Variant] = []
    for name, policies in {"empty plan": [], **ROWS}.items():
        app = Flask("benchmark")
        app.config["SECRET_KEY"] = "secret"
        Guard(app, policies=policies)
        app.add_url_rule("/", "view", lambda: "hello", methods=["POST"])
        found.append(Posted(name, app, chunked if "chunked" in name else old if "old" in name else fields))
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--requests", type=int, default=100, help="in each round, for each variant")
    options = parser.parse_args()
    times = measure(variants(), options.rounds, options.requests)
    empty = times["empty plan"]
    print(f"{'':18}{'µs':>8}{'adds':>8}")
    for name, microseconds in times.items():
        print(f"{name:18}{microseconds:8.1f}{microseconds - empty:8.1f}")


if __name__ == "__main__":
    main()
