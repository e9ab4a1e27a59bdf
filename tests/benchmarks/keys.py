"""Keys of each store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask

from flask_guard import Guard, require_api_key
from flask_guard.keys import KeyStore, SignedKeys, SQLKeys
from tests.benchmarks import peers
from tests.benchmarks.overhead import KEY, Variant, environ, make_app

SECRET = "secret"


class FirstSight(Variant):
    """A request with a signed key that was not seen before."""

    keys: list[str]

    def sample(self, requests: int) -> float:
        """Issue a key for each request, then time the requests."""
        self.keys = [SignedKeys(SECRET).issue(f"key-{number}") for number in range(requests + 1)]
        return super().sample(requests)

    def request(self) -> None:
        """Serve one request."""
        self.environ["HTTP_AUTHORIZATION"] = f"Bearer {self.keys.pop()}"
        super().request()


def variants(folder: Path) -> list[Variant]:
    """Return the stores, and Flask-HTTPAuth."""
    stored, signed = SQLKeys(f"sqlite:///{folder / 'keys.sqlite'}", cache=3600), SignedKeys(SECRET)
    return [
        Variant("bare", make_app(), environ()),
        Variant("static", _guarded(None), _with(KEY), peer="Flask-HTTPAuth"),
        Variant("stored, cached", _guarded(stored), _with(stored.create(name="bench").secret)),
        Variant("signed, seen before", _guarded(signed), _with(signed.issue("bench"))),
        FirstSight("signed, first sight", _guarded(SignedKeys(SECRET)), _with(signed.issue("first"))),
        Variant("Flask-HTTPAuth", peers.httpauth(), _with(KEY)),
    ]


def _with(key: str) -> dict[str, Any]:
    return environ({"Authorization": f"Bearer {key}"})


def _guarded(keys: KeyStore | None) -> Flask:
    app = make_app()
    if keys is not None:
        del app.config["GUARD_API_KEYS"]
    Guard(app, policies=[require_api_key], keys=keys)
    return app
