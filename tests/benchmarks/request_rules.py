"""The rules for requests, on one with a body."""

from __future__ import annotations

from flask import Flask

from flask_guard import Guard, Policy, require_request, same_origin
from tests.benchmarks.overhead import Variant, environ

BODY = b'{"stars": 5}'
RULES: dict[str, list[Policy]] = {
    "empty plan": [],
    "json": [require_request(json=True)],
    "max_body": [require_request(max_body=10_000)],
    "max_body, chunked": [require_request(max_body=10_000)],
    "https": [require_request(https=True)],
    "hosts": [require_request(hosts=["api.example.com", "*.example.com"])],
    "addresses": [require_request(addresses=["10.0.0.0/8", "192.0.2.0/24"])],
    "headers": [require_request(headers=["X-Tenant"])],
    "same_origin": [same_origin],
    "same_origin, old browser": [same_origin],
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


def variants() -> list[Variant]:
    """Return a bare app, and one for each rule."""
    sent = {"X-Tenant": "acme", "Origin": "https://api.example.com", "Sec-Fetch-Site": "same-origin"}
    fields = environ({**sent, "Content-Type": "application/json"}, method="POST")
    fields |= {"HTTP_HOST": "api.example.com", "wsgi.url_scheme": "https", "CONTENT_LENGTH": str(len(BODY))}
    chunked = {**fields, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    del chunked["CONTENT_LENGTH"]
    old = {name: value for name, value in fields.items() if name != "HTTP_SEC_FETCH_SITE"}
    made = [Variant("bare", _app(None), fields, body=BODY)]
    for name, policies in RULES.items():
        presented = chunked if "chunked" in name else old if "old" in name else fields
        made.append(Variant(name, _app(policies), presented, body=BODY))
    return made


def _app(policies: list[Policy] | None) -> Flask:
    app = Flask("benchmark")
    app.config["SECRET_KEY"] = "secret"
    if policies is not None:
        Guard(app, policies=policies)
    app.add_url_rule("/", "view", lambda: "hello", methods=["POST"])
    return app
