"""OpenAPI documents of the versions 3.0 and 3.1, completed with the requirements and denials of policies."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import product
from typing import Any, TypeAlias

from flask import Flask

from ..core.described import Documented
from ..core.facts import EVERY_METHOD, Entry, Inventory
from ..core.url_patterns import VARIABLE
from ..errors import ConfigError
from .inventory import take_inventory

Document: TypeAlias = "dict[str, Any]"

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SCHEMA = "GuardProblem"
PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
FIELDS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "How to authenticate (RFC 9110, section 11.6.1)."},
    429: {"Retry-After": "The seconds after which to try again."},
    503: {"Retry-After": "The seconds after which to try again."},
}
"""The fields that denials carry, by status."""


def completed(app: Flask, spec: Mapping[str, Any]) -> Document:
    """Return a copy of an OpenAPI document with the security, denials and fields of each guarded operation.

    Existing entries of the document stay: the security of an operation, and its responses.

    :param spec: a whole document, or its ``paths`` alone. For paths alone, ``paths`` and ``components`` are returned.
    :raises ConfigError: for a document of another version than 3.
    """
    document: Document = copy.deepcopy(dict(spec))
    if "swagger" in document or not str(document.get("openapi", "3")).startswith("3"):
        raise ConfigError("guard.openapi() completes OpenAPI 3 documents: convert this one first")
    if "paths" not in document and "openapi" not in document:
        document = {"paths": document}
    completer = _Completer(take_inventory(app), document)
    for path, item in (document.get("paths") or {}).items():
        for method in METHODS:
            if isinstance(item, dict) and isinstance(item.get(method), dict):
                completer.complete(path, method, item[method])
    return document


class _Completer:
    """Completes the operations of one document, and collects the components that they refer to."""

    def __init__(self, inventory: Inventory, document: Document) -> None:
        self._inventory = inventory
        self._document = document
        self._entries = {
            (_shape(entry.path), entry.method.lower()): entry for entry in reversed(inventory.entries) if not entry.host
        }

    def complete(self, path: str, method: str, operation: Document) -> None:
        """Complete one operation, if the app serves it."""
        shape = _shape(path)
        entry = self._entries.get((shape, method)) or self._entries.get((shape, EVERY_METHOD))
        shares = list(self._shares(entry)) if entry is not None else []
        security = self._security(shares)
        if security:
            operation.setdefault("security", security)
        fields = {name: text for share in shares for name, text in share.fields.items()}
        responses = operation.setdefault("responses", {})
        for response in responses.values():
            if "$ref" not in response:
                self._add_fields(response, fields)
        for status in sorted({status for share in shares for status in share.statuses}):
            responses.setdefault(str(status), self._problem(status, fields))

    def _shares(self, entry: Entry) -> Iterator[Documented]:
        for policy in self._inventory.enforced(entry):
            yield policy.documented(self._inventory.state)

    def _security(self, shares: list[Documented]) -> list[dict[str, list[str]]]:
        """Return the alternatives of an operation. Each combines one scheme of every policy."""
        choices = [
            [self._scheme(name, scheme) for name, scheme in share.schemes.items()] + [None] * share.is_optional
            for share in shares
            if share.schemes
        ]
        return [{name: [] for name in chosen if name is not None} for chosen in product(*choices)] if choices else []

    def _scheme(self, name: str, scheme: Mapping[str, Any]) -> str:
        """Return the name of a security scheme in the document. An equal scheme there gives its name."""
        schemes = self._component("securitySchemes")
        equal = next((known for known, other in schemes.items() if other == scheme), name)
        schemes.setdefault(equal, dict(scheme))
        return equal

    def _problem(self, status: int, fields: Mapping[str, str]) -> Document:
        self._component("schemas").setdefault(SCHEMA, copy.deepcopy(dict(PROBLEM)))
        content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}
        response: Document = {"description": HTTPStatus(status).phrase, "content": content}
        self._add_fields(response, {**FIELDS.get(status, {}), **fields})
        return response

    def _add_fields(self, response: Document, fields: Mapping[str, str]) -> None:
        headers = response.setdefault("headers", {}) if fields else {}
        for name, text in fields.items():
            headers.setdefault(name, {"description": text, "schema": {"type": "string"}})

    def _component(self, kind: str) -> Document:
        found: Document = self._document.setdefault("components", {}).setdefault(kind, {})
        return found


def _shape(path: str) -> str:
    """Return a path without the names of its variables: Flask's ``<int:id>`` equals OpenAPI's ``{id}``."""
    return re.sub(r"\{[^{}]*\}", "{}", VARIABLE.sub("{}", path))
