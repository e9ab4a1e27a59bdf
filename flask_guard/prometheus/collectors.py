"""The counters of `metrics`: prometheus_client's objects, one set for each app and prefix.

prometheus_client keeps a value in this process or, if the environment names a ``PROMETHEUS_MULTIPROC_DIR``, in files
that all workers of a server share.
"""

from __future__ import annotations

import contextlib
import gc
import os
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..core.app_state import AppState
from ..core.request_run import Run
from ..errors import ConfigError
from ..signals import store_unavailable
from ..support.extras import extra
from ..typing import Flask

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

MOST_REASONS = 200
"""The largest number of pairs of policy and reason. Denials with further pairs count as ``other``."""
OTHER = "other"
MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"


class Families:
    """The metrics of one prefix.

    :param buckets: the upper bounds of the histogram's buckets, in seconds.
    """

    def __init__(self, client: ModuleType, prefix: str, buckets: tuple[float, ...]) -> None:
        self.prefix: str = prefix
        self.buckets: tuple[float, ...] = buckets
        by_request = ("endpoint", "method", "status")
        counter = partial(client.Counter, registry=None)
        self.requests: Any = counter(f"{prefix}_requests", "Requests, by the class of their status.", by_request)
        self.duration: Any = client.Histogram(
            f"{prefix}_request_duration_seconds",
            "Seconds from the first hook to the last byte.",
            by_request,
            registry=None,
            buckets=buckets,
        )
        self.denials: Any = counter(
            f"{prefix}_denials",
            "Refused requests (mode enforce), and those that a policy in report mode would have refused (mode report).",
            ("policy", "reason", "mode"),
        )
        self.store_errors: Any = counter(f"{prefix}_store_errors", "Times that the limit storage stopped answering.")
        self._seen: set[tuple[str, str]] = set()

    def count_denials(self, run: Run) -> None:
        """Count the denials of a request, also in report mode."""
        for denial, mode in [(run.denial, "enforce"), *((each, "report") for each in run.would_deny)]:
            if denial is not None:
                self.denials.labels(*self._bounded(denial.policy, denial.reason), mode).inc()

    def _bounded(self, policy: str, reason: str) -> tuple[str, str]:
        """Return the labels of a denial. The reasons of an app's own policies must not make endless series."""
        pair = (policy, reason)
        if pair not in self._seen:
            if len(self._seen) >= MOST_REASONS:
                return OTHER, OTHER
            self._seen.add(pair)
        return pair

    def collect(self) -> Iterator[Metric]:
        for family in self._all():
            yield from family.collect()

    def describe(self) -> list[Metric]:
        return [metric for family in self._all() for metric in family.describe()]

    def _all(self) -> tuple[Any, ...]:
        return (self.requests, self.duration, self.denials, self.store_errors)


GONE = "_flask_guard_gone"
"""Where a registry carries the metrics of deleted apps, until the next app comes.

An app may be deleted by the garbage collector while its thread registers something, and so holds the registry's lock.
Nothing may wait for that lock then. A `SimpleQueue` takes things at any time.
"""


class AppMetrics:
    """The metrics of one app, by prefix; a collector for a registry.

    :raises ConfigError: if prometheus_client is missing, or its settings for several processes are wrong.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._client = _client()
        self._families: dict[str, Families] = {}
        self._registry: CollectorRegistry | None = None
        self._claimed: set[str] = set()
        store_unavailable.connect(self._count_store_error, state.app)

    def families(self, prefix: str, buckets: tuple[float, ...], registry: CollectorRegistry | None) -> Families:
        """Return the metrics of `prefix`, made at the first call.

        :raises ConfigError: for other buckets or another registry than before, and for names that are taken.
        """
        with self._state.lock:
            if registry is not None and self._registry not in (None, registry):
                raise ConfigError("metrics(registry=…) must be the same registry everywhere in an app")
            self._registry = registry if registry is not None else self._registry
            found = self._families.get(prefix) or Families(self._client, prefix, buckets)
            if found.buckets != buckets:
                raise ConfigError(
                    f"metrics(buckets=…) of one prefix must be the same everywhere in an app, and {prefix!r} has the"
                    f" buckets {found.buckets} already. Write another prefix for these: metrics(prefix=…)"
                )
            self._families[prefix] = found
            for each in self._families.values():
                self._claim_names(each)
            return found

    def _claim_names(self, families: Families) -> None:
        """Reserve the names in the registry, so that no other app counts under them."""
        registry = self._client.REGISTRY if is_multiprocess(self._client) else self._registry
        what = f"metrics {families.prefix} in {id(registry)}"
        if registry is not None and what not in self._claimed:
            _link(self._state.app, families, registry)
            self._claimed.add(what)

    def _count_store_error(self, _app: Flask, **_: Any) -> None:
        for families in self._families.values():
            families.store_errors.inc()

    def registry(self) -> CollectorRegistry:
        """Return the registry that the app's page of metrics shows."""
        if self._registry is not None and not is_multiprocess(self._client):
            return self._registry
        registry: CollectorRegistry = self._client.CollectorRegistry()
        registry.register(_Workers(self) if is_multiprocess(self._client) else self)
        return registry

    def collect(self, prefix: str | None = None) -> Iterator[Metric]:
        for families in list(self._families.values()):
            if prefix in (None, families.prefix):
                yield from families.collect()

    def describe(self) -> list[Metric]:
        return [metric for families in self._families.values() for metric in families.describe()]


class _Workers:
    """The counts of all workers of a server, for all metrics."""

    def __init__(self, metrics: AppMetrics) -> None:
        from prometheus_client.multiprocess import MultiProcessCollector

        self._collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        self.describe = metrics.describe

    def collect(self) -> Iterable[Metric]:
        collected: Iterable[Metric] = self._collector.collect()  # type: ignore[no-untyped-call]
        return collected


class _Link:
    """An app's metrics in a shared registry, which does not keep the app alive."""

    def __init__(self, app: Flask, families: Families) -> None:
        self._app = weakref.ref(app)
        self._prefix = families.prefix
        self._described = families.describe()

    def collect(self) -> Iterable[Metric]:
        app = self._app()
        return AppState.of(app).resource(AppMetrics).collect(self._prefix) if app is not None else ()

    def describe(self) -> Iterable[Metric]:
        return self._described


def _link(app: Flask, families: Families, registry: CollectorRegistry) -> None:
    gone: SimpleQueue[_Link] = vars(registry).setdefault(GONE, SimpleQueue())
    _unregister(gone, registry)
    link = _Link(app, families)
    try:
        registry.register(link)
    except ValueError:
        gc.collect()  # the name may belong to a deleted app, as in tests
        _unregister(gone, registry)
        try:
            registry.register(link)
        except ValueError:
            raise ConfigError(
                f"metrics(prefix={families.prefix!r}): another collector in this process has these names already. Write"
                " another prefix for this app, such as metrics(prefix='shop')"
            ) from None
    weakref.finalize(app, gone.put, link).atexit = False


def _unregister(gone: SimpleQueue[_Link], registry: CollectorRegistry) -> None:
    with contextlib.suppress(Empty):
        while True:
            link = gone.get_nowait()
            with contextlib.suppress(KeyError):  # somebody has cleared the registry
                registry.unregister(link)


def is_multiprocess(client: ModuleType) -> bool:
    """Return whether values are kept in files that several processes share."""
    return client.values.ValueClass is not client.values.MutexValue


def _client() -> ModuleType:
    with extra("metrics", "prometheus_client", "metrics"):
        import prometheus_client
        import prometheus_client.values
    folder = os.environ.get(MULTIPROC_DIR)
    if is_multiprocess(prometheus_client) and not (folder and Path(folder).is_dir()):
        raise ConfigError(f"{MULTIPROC_DIR} must name a directory that exists, and is empty when the server starts")
    if folder and not is_multiprocess(prometheus_client):
        raise ConfigError(
            f"{MULTIPROC_DIR} must be set before prometheus_client is imported: set it in the environment"
        )
    return prometheus_client
