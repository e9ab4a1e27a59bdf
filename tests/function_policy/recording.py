"""Apps around whose view middlewares stand, and middlewares that note what they go through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, TypeAlias

from flask import Flask, Request, Response

from flask_guard import Guard, Middleware, middleware, protect

Around: TypeAlias = Generator[None, Response, Any]


def serve(app: Flask, *policies: Middleware, view: Callable[..., Any] | None = None) -> Flask:
    """Return `app` with a view at ``/``, the first of `policies` outermost around it."""
    app.add_url_rule("/", "index", protect(view or (lambda: "hello"), *policies))
    Guard(app)
    return app


def recording(events: list[str], name: str) -> Middleware:
    """Return a middleware that notes in `events` what it goes through."""

    @middleware
    def record(request: Request) -> Around:
        events.append(f"{name} before")
        try:
            response = yield
            events.append(f"{name} after {response.status_code}")
        finally:
            events.append(f"{name} finally")

    return record


def recording_async(events: list[str], name: str) -> Middleware:
    """Return an async middleware that notes in `events` what it goes through."""

    @middleware
    async def record(request: Request) -> AsyncGenerator[None, Response]:
        events.append(f"{name} before")
        try:
            response = yield
            events.append(f"{name} after {response.status_code}")
        finally:
            await asyncio.sleep(0)
            events.append(f"{name} finally")

    return record
