"""OpenTelemetry, where its API is installed: the ids of the current span, and the verdicts as its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..core.app_state import AppState
from ..core.request_run import Run

SpanIds: TypeAlias = "tuple[str | None, str | None]"
"""The trace id and the span id, as lower-case hexadecimal digits (W3C Trace Context)."""
NO_SPAN: SpanIds = (None, None)
INSTRUMENTATION = "opentelemetry.instrumentation.flask"
"""The module of the hook that begins a span."""


class SpanReader:
    """Reads the current span, and writes to it.

    :param current_context: OpenTelemetry's ``get_current``. Where nothing is traced its result is empty. That is faster
        to find out than that there is no span.
    :param span_in: its ``get_current_span``.
    """

    def __init__(self, current_context: Callable[[], Any], span_in: Callable[[Any], Any]) -> None:
        self._current_context = current_context
        self._span_in = span_in

    def trace_id(self) -> str | None:
        """Return the trace id of the current span, or None if there is no span."""
        current = self._current_context()
        if not current:
            return None
        context = self._span_in(current).get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def describe(self, run: Run, request_id: str, verdicts: Callable[[Run], Mapping[str, str]]) -> SpanIds:
        """Return the ids of the current span, and give it the request's id and the decision of each policy."""
        current = self._current_context()
        if not current:
            return NO_SPAN
        span = self._span_in(current)
        context = span.get_span_context()
        if not context.is_valid:
            return NO_SPAN
        if span.is_recording():
            span.set_attribute("flask_guard.request_id", request_id)
            for policy, verdict in verdicts(run).items():
                span.set_attribute(f"flask_guard.verdict.{policy}", verdict)
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def begin_spans_first(state: AppState) -> None:
    """Move the hook in which OpenTelemetry's instrumentation begins its span in front of the app's other hooks.

    It stands behind the Guard's if the app was instrumented later, and a refused request would then have no span.
    """
    hooks = state.app.before_request_funcs.get(None, [])
    hooks[:] = sorted(hooks, key=lambda hook: getattr(hook, "__module__", "") != INSTRUMENTATION)


def span_reader() -> SpanReader | None:
    """Return the reader of the current span, or None if OpenTelemetry's API is not installed."""
    try:
        from opentelemetry.context import get_current
        from opentelemetry.trace import get_current_span
    except ImportError:
        return None
    return SpanReader(get_current, get_current_span)
