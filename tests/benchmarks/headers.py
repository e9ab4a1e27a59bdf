"""What `cors` and `secure_headers` cost, beside Flask-CORS and Talisman with the same fields on the response.

Run with: python -m tests.benchmarks.headers
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import flask_cors
from flask import Flask
from flask_talisman import Talisman  # type: ignore[import-untyped]

from flask_guard import Guard, Policy, cors, csp_nonce, secure_headers
from flask_guard.security_headers import nonce

from .overhead import ORIGIN, Variant, environ, make_app, measure

FIVE = secure_headers(
    csp="default-src 'self'; object-src 'none'",
    frame_options="sameorigin",
    content_type_options="nosniff",
    referrer_policy="strict-origin-when-cross-origin",
    permissions_policy="browsing-topics=()",
    hsts=None,
    opener_policy=None,
    embedder_policy=None,
    resource_policy=None,
    cache_control=None,
    dns_prefetch_control=None,
    cross_domain_policies=None,
)
"""The fields that Talisman sends by default over http, and no others."""
UNSTORED = FIVE(cache_control="no-store")
"""The same with the field that goes with a nonce."""
WITH_NONCE = UNSTORED(csp={"default-src": ["'self'", nonce]})


def guarded(*policies: Policy) -> Callable[[Flask], None]:
    """Return what puts a Guard with app-wide policies on an app."""

    def guard(app: Flask) -> None:
        Guard(app, policies=policies)

    return guard


def talisman(app: Flask) -> None:
    """Put Talisman on an app, without its redirect to https."""
    Talisman(app, force_https=False)


def cross_origin(app: Flask) -> None:
    """Decorate the view with Flask-CORS."""
    app.view_functions["view"] = flask_cors.cross_origin(origins=[ORIGIN])(app.view_functions["view"])


def asking(app: Flask) -> None:
    """Guard an app whose view asks for a nonce."""
    app.view_functions["view"] = lambda: "hello" if csp_nonce() else ""
    Guard(app, policies=[WITH_NONCE])


VARIANTS: dict[str, Callable[[Flask], None]] = {
    "bare": lambda app: None,
    "empty plan": guarded(),
    "cross_origin": cross_origin,
    "cors": guarded(cors(origins=[ORIGIN])),
    "cors, any": guarded(cors(origins="*")),
    "Talisman": talisman,
    "its five fields": guarded(FIVE),
    "strict": guarded(secure_headers),
    "relaxed": guarded(secure_headers("relaxed")),
    "five and no-store": guarded(UNSTORED),
    "nonce, unused": guarded(WITH_NONCE),
    "nonce, used": asking,
}


def variants() -> list[Variant]:
    """Return one app for each variant."""
    fields = environ()
    made = []
    for name, prepare in VARIANTS.items():
        app = make_app()
        prepare(app)
        made.append(Variant(name, app, fields))
    return made


def report(times: dict[str, float]) -> None:
    """Print a line for each variant, and the ratios to the peers, over the empty plan for ours."""
    empty = times["empty plan"]
    print(f"{'':20}{'µs':>8}{'over bare':>11}{'over empty plan':>17}")
    for name, microseconds in times.items():
        print(f"{name:20}{microseconds:8.1f}{microseconds - times['bare']:11.1f}{microseconds - empty:17.1f}")
    for ours, theirs in (("cors", "cross_origin"), ("its five fields", "Talisman"), ("strict", "Talisman")):
        ratio = (times[ours] - empty) / (times[theirs] - times["bare"])
        print(f"{ours} / {theirs}: {ratio:.2f}")
    print(f"a nonce: {times['nonce, used'] - times['five and no-store']:.1f} µs")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument(
        "--requests", type=int, default=3, help="in each round, for each variant: few are less disturbed"
    )
    options = parser.parse_args()
    report(measure(variants(), options.rounds, options.requests))


if __name__ == "__main__":
    main()
