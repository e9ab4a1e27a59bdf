"""`with_key`: a test client that presents an API key."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flask.testing import FlaskClient

from ..core.app_state import AppState
from ..keys.concern import asking_first
from ..keys.model import ApiKey
from ..keys.sources import CallableKeys
from ..support.http_credentials import place_of
from ..wsgi.fields import environ_key


@contextmanager
def with_key(
    client: FlaskClient,
    *,
    scopes: str | Iterable[str] = (),
    id: str = "test",  # the name of the field of ApiKey
    in_: str = "bearer",
    **facts: Any,
) -> Iterator[FlaskClient]:
    """Let a test client present a key that is valid for the ``with`` block. Keys of the app stay valid.

    ::

        with with_key(client, scopes=["orders:write"]) as client:
            assert client.post("/orders").status_code == 201

    :param scopes: the scopes of the key.
    :param id: the id of the key.
    :param in_: the place of the key, as in ``require_api_key(in_=…)``: ``"bearer"`` or a header.
    :param facts: other facts of the :class:`~flask_guard.ApiKey`, such as ``expires``.
    :raises ValueError: for another place, as a test client has no query for all requests.
    """
    where, name = place_of(in_)
    if where != "header":
        raise ValueError(
            f"with_key(in_={in_!r}): a test client presents keys in a header only; write 'bearer' or a header"
        )
    secret = f"test-{secrets.token_hex(16)}"
    key = ApiKey(id=id, scopes=frozenset((scopes,) if isinstance(scopes, str) else scopes), **facts)
    variable = environ_key(name)
    before = dict(client.environ_base)
    store = CallableKeys(lambda presented: key if presented == secret else None)
    with asking_first(store, AppState.of(client.application)):
        client.environ_base[variable] = f"Bearer {secret}" if in_ == "bearer" else secret
        try:
            yield client
        finally:
            client.environ_base.clear()
            client.environ_base.update(before)
