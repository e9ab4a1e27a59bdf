"""Everything that is measured, in groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import concerns, floors, keys, limits, once, peers, request_rules, shapes
from tests.benchmarks.measuring import Measurable
from tests.benchmarks.once import FirstRequest, Import, Memory, Start
from tests.benchmarks.overhead import Variant, environ, make_app


@dataclass(frozen=True)
class Place:
    """Where variants count and store.

    :ivar redis: the URL of a Redis that is used by nobody else.
    :ivar folder: a folder for files.
    """

    redis: str
    folder: Path


ENDPOINTS = (10, 10_000)


def _denied(_place: Place) -> Sequence[Measurable]:
    fields = environ()
    anonymous = {name: value for name, value in fields.items() if name != "HTTP_AUTHORIZATION"}
    asking = environ({"Origin": fields["HTTP_ORIGIN"], "Access-Control-Request-Method": "GET"}, method="OPTIONS")
    return [
        Variant("bare", make_app(), fields),
        *shapes.denied(),
        Variant("401, Flask-HTTPAuth", peers.httpauth(), anonymous, status=401),
        Variant("429, Flask-Limiter", peers.exhausted_limiter(), fields, status=429),
        Variant("preflight, Flask-CORS", peers.cross_origin(), asking),
    ]


def _many(_place: Place) -> Sequence[Measurable]:
    few, many = (once.make_app(size, guard=True) for size in ENDPOINTS)
    path = {**environ(), "PATH_INFO": "/7"}
    return [
        Variant("bare", make_app(), environ()),
        *shapes.counts(),
        *shapes.nested(),
        Variant(f"at {ENDPOINTS[0]:,} endpoints", few, path),
        Variant(f"at {ENDPOINTS[1]:,} endpoints", many, path, goals={f"at {ENDPOINTS[0]:,} endpoints": 1.02}),
    ]


def _first(_place: Place) -> Sequence[Measurable]:
    return [
        FirstRequest("bare, 20 endpoints", endpoints=20, guard=False),
        FirstRequest("bare, 2,000 endpoints", endpoints=2000, guard=False),
        FirstRequest("20 endpoints", "bare, 20 endpoints", goals={"amount": 200}, endpoints=20),
        FirstRequest(
            "2,000 endpoints", "bare, 2,000 endpoints", endpoints=2000, goals={"amount": 200, "20 endpoints": 1.05}
        ),
    ]


def _memory(_place: Place) -> Sequence[Measurable]:
    return [
        Memory("bare"),
        Memory("five policies, app-wide", "bare", goals={"adds": 3}, make=partial(once.make_app, guard=True)),
        Memory("five policies of its own", "bare", make=partial(once.make_app, own=True)),
    ]


def _start(_place: Place) -> Sequence[Measurable]:
    return [
        Start("bare", make=partial(once.make_app, 100, guard=False)),
        Start("all five", "bare", make=partial(once.make_app, 100, guard=True)),
    ]


def _imports(_place: Place) -> Sequence[Measurable]:
    extensions = ("flask", "flask_cors", "flask_limiter", "flask_talisman", "flask_httpauth")
    return [
        Import("flask", modules=("flask",)),
        Import("flask, flask_guard", "flask", "the peers' stack", modules=("flask", "flask_guard")),
        Import("the peers' stack", "flask", modules=extensions),
    ]


GROUPS: dict[str, Callable[[Place], Sequence[Measurable]]] = {
    "policies": lambda place: concerns.everyday(),
    "storages": lambda place: limits.variants(place.redis, f"sqlite:///{place.folder / 'limits.db'}"),
    "denied": _denied,
    "floors": lambda place: floors.variants(place.redis),
    "sizes": _many,
    "first request": _first,
    "memory of an endpoint": _memory,
    "start, 100 endpoints": _start,
    "import": _imports,
    "keys": lambda place: keys.variants(place.folder),
    "headers": lambda place: concerns.headers(),
    "compression": lambda place: concerns.compression(),
    "logging": lambda place: concerns.logging_(),
    "request rules": lambda place: request_rules.variants(),
    "below Flask": lambda place: concerns.below_flask(),
}


def check(variants: Sequence[Measurable]) -> None:
    """Serve a request of each, and compare the fields of those that have a peer.

    :raises RuntimeError: if a response has another status than expected, or a field has not the peer's value.
    """
    served = {each.name: each.fields() for each in variants if isinstance(each, Variant)}
    for each in variants:
        for field in each.same if isinstance(each, Variant) else ():
            ours, theirs = served[each.name].get(field), served[each.peer].get(field)
            if ours is None or theirs is None or (field not in VOLATILE and ours.lower() != theirs.lower()):
                raise RuntimeError(f"{each.name!r} sends {field}: {ours}, but {each.peer!r} {theirs}")


VOLATILE = ("X-Request-ID", "X-RateLimit-Reset", "Retry-After")
"""Fields with another value in each response."""
