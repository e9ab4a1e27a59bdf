"""`log_timing` beside OpenTelemetry: the span's ids on the record, the verdicts on the span. With the real SDK."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from flask import Flask, Response
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, Tracer, use_span
from werkzeug.test import TestResponse

from flask_guard import Guard, current_request_id, limit, log_timing, require_api_key
from tests.access_log.logged import Records, serve
from tests.conftest import MakeApp


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("tests")


def traced(app: Flask, tracer: Tracer, **options: Any) -> tuple[TestResponse, str, str]:
    """Send a request inside a span, as an instrumented server does; return the answer and the span's ids."""
    with tracer.start_as_current_span("request") as span:
        context = span.get_span_context()
        response = app.test_client().get("/", buffered=True, **options)
    return response, f"{context.trace_id:032x}", f"{context.span_id:016x}"


def attributes(exporter: InMemorySpanExporter) -> dict[str, Any]:
    (span,) = exporter.get_finished_spans()
    assert isinstance(span, ReadableSpan)
    return dict(span.attributes or {})


def test_trace_id_of_the_span_is_the_id_of_the_request(app: Flask, records: Records, tracer: Tracer) -> None:
    serve(app, lambda: str(current_request_id))

    response, trace_id, span_id = traced(app, tracer)

    (record,) = records()
    assert response.text == response.headers["X-Request-ID"] == record.request_id == trace_id
    assert (record.trace_id, record.span_id) == (trace_id, span_id)


def test_id_that_the_client_gives_is_kept_beside_those_of_the_span(
    app: Flask, records: Records, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    serve(app, lambda: "hello")

    _, trace_id, span_id = traced(app, tracer, headers={"X-Request-ID": "the-id"})

    (record,) = records()
    assert (record.request_id, record.trace_id, record.span_id) == ("the-id", trace_id, span_id)
    assert attributes(exporter)["flask_guard.request_id"] == "the-id"


def test_streamed_and_raising_requests_have_the_ids_too(make_app: MakeApp, records: Records, tracer: Tracer) -> None:
    stream = serve(make_app(), lambda: Response(iter(["a", "b"])))
    raising = serve(make_app(TESTING=True), lambda: str(1 / 0))

    ids = [traced(stream, tracer)[1:]]
    with tracer.start_as_current_span("request") as span, pytest.raises(ZeroDivisionError):
        raising.test_client().get("/")
    context = span.get_span_context()
    ids.append((f"{context.trace_id:032x}", f"{context.span_id:016x}"))

    assert [(record.trace_id, record.span_id) for record in records()] == ids


def test_span_that_begins_inside_is_found(app: Flask, records: Records, tracer: Tracer) -> None:
    """As instrumentations do that are added after the Guard: they begin their span in a hook."""
    serve(app, lambda: "hello")
    spans: list[Any] = []

    @app.before_request
    def begin() -> None:
        spans.append(tracer.start_as_current_span("request"))
        spans.append(spans[0].__enter__())

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        spans[0].__exit__(None, None, None)

    app.test_client().get("/")

    assert records()[0].span_id == f"{spans[1].get_span_context().span_id:016x}"


@pytest.mark.parametrize("logs", [True, False])
@pytest.mark.parametrize("instrumented", ["before the guard", "after the guard"])
def test_refused_request_has_a_span_whenever_the_app_was_instrumented(
    make_app: MakeApp,
    records: Records,
    exporter: InMemorySpanExporter,
    provider: TracerProvider,
    instrumented: str,
    logs: bool,
) -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.flask")
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    seen: list[str] = []
    app.before_request(lambda: seen.append("before_request"))
    policies = [require_api_key, *([log_timing] if logs else [])]
    if instrumented == "after the guard":
        Guard(app, policies=policies)
    instrumentation.FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    if instrumented == "before the guard":
        Guard(app, policies=policies)
    app.add_url_rule("/", "index", lambda: "hello")

    response = app.test_client().get("/")

    assert (response.status_code, seen) == (401, ["before_request"])
    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /"
    if logs:
        context = span.get_span_context()
        assert context is not None
        assert records()[0].request_id == records()[0].trace_id == f"{context.trace_id:032x}"
        assert (span.attributes or {})["flask_guard.verdict.require_api_key"] == "denied"


def test_verdicts_are_attributes_of_the_span(make_app: MakeApp, tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    app = make_app(GUARD_API_KEYS={"ci": "secret"})
    serve(app, limit("9/minute")(require_api_key(lambda: "hello")))

    _, trace_id, _ = traced(app, tracer)

    assert attributes(exporter) == {
        "flask_guard.request_id": trace_id,
        "flask_guard.verdict.log_timing": "allowed",
        "flask_guard.verdict.limit": "allowed",
        "flask_guard.verdict.require_api_key": "denied",
    }


@pytest.mark.parametrize("span", [None, NonRecordingSpan(INVALID_SPAN_CONTEXT)], ids=["none", "not valid"])
def test_without_a_span_there_are_no_ids(app: Flask, records: Records, span: Span | None) -> None:
    serve(app, lambda: "hello")

    with use_span(span) if span is not None else nullcontext():
        response = app.test_client().get("/")

    assert response.headers["X-Request-ID"].strip("0")

    (record,) = records()
    assert (record.trace_id, record.span_id) == (None, None)


def test_without_opentelemetry_all_else_works(
    app: Flask, records: Records, tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    serve(app, lambda: "hello")
    response, trace_id, _ = traced(app, tracer)

    (record,) = records()
    assert response.text == "hello"
    assert record.request_id == response.headers["X-Request-ID"] != trace_id
    assert (record.trace_id, record.span_id) == (None, None)
    assert "opentelemetry" in sys.modules
