"""`metrics`: where it goes, its options, and whom the numbers belong to."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest
from flask import Blueprint, Flask
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Metric

from flask_guard import ConfigError, Guard, exempt, metrics, protect
from tests.cases import together
from tests.conftest import MakeApp

from .metrics_page import requests, samples, send, serve

# Scopes ----------------------------------------------------------------------------------------------------------


def test_a_blueprint_a_view_and_an_exemption(app: Flask) -> None:
    api = protect(Blueprint("api", __name__, url_prefix="/api"), metrics)
    api.add_url_rule("/counted", "counted", lambda: "counted")
    api.add_url_rule("/open", "open", exempt(metrics)(lambda: "open"))
    app.register_blueprint(api)
    app.add_url_rule("/view", "view", metrics(lambda: "view"))
    app.add_url_rule("/other", "other", lambda: "other")
    Guard(app)

    for path in ("/api/counted", "/api/open", "/view", "/other", "/api/nowhere", "/nowhere"):
        send(app, path)

    assert requests(app) == {
        ("api.counted", "GET", "2xx"): 1,
        ("view", "GET", "2xx"): 1,
        ("(unmatched)", "GET", "4xx"): 1,
    }


def test_a_prefix_of_its_own_counts_apart(app: Flask) -> None:
    app.add_url_rule("/slow", "slow", metrics(prefix="slow", buckets=(30, 60))(lambda: "slow"))
    serve(app)

    send(app)
    send(app, "/slow")

    assert requests(app) == {("index", "GET", "2xx"): 1}
    assert requests(app, "slow") == {("slow", "GET", "2xx"): 1}
    assert list(samples(app, "slow_request_duration_seconds_bucket", "le")) == [("30.0",), ("60.0",), ("+Inf",)]


def test_two_apps_count_apart(make_app: MakeApp) -> None:
    first, second = serve(make_app()), serve(make_app())

    send(first)
    send(first)
    send(second)

    assert (requests(first), requests(second)) == ({("index", "GET", "2xx"): 2}, {("index", "GET", "2xx"): 1})


def test_plans_that_were_looked_at_before_the_first_request_change_nothing(app: Flask) -> None:
    registry = CollectorRegistry()
    app.add_url_rule("/", "index", metrics(registry=registry)(lambda: "hello"))
    guard = Guard(app)
    guard.plan_for("index")

    send(app)

    assert requests(app) == {("index", "GET", "2xx"): 1}
    assert registry.get_sample_value(
        "flask_guard_requests_total", {"endpoint": "index", "method": "GET", "status": "2xx"}
    )


def test_switched_off_it_counts_nothing(app: Flask) -> None:
    app.add_url_rule("/", "index", lambda: "hello")
    guard = Guard(app, policies=[metrics])

    with guard.disabled():
        send(app)
    assert requests(app) == {}
    send(app)

    assert requests(app) == {("index", "GET", "2xx"): 1}


# Registries --------------------------------------------------------------------------------------------------------


def test_a_shared_registry_shows_the_apps_own_metrics_too(app: Flask) -> None:
    registry = CollectorRegistry()
    Counter("orders", "Orders.", registry=registry).inc(3)
    app.add_url_rule("/", "index", lambda: "hello")
    Guard(app, policies=[metrics(registry=registry)])

    send(app)

    assert samples(app, "orders_total") == {(): 3}
    assert requests(app) == {("index", "GET", "2xx"): 1}
    labels = {"endpoint": "index", "method": "GET", "status": "2xx"}
    assert registry.get_sample_value("flask_guard_requests_total", labels) == 1


def test_the_first_page_shows_the_registry_that_a_view_names(app: Flask) -> None:
    registry = CollectorRegistry()
    Counter("orders", "Orders.", registry=registry)
    app.add_url_rule("/", "index", metrics(registry=registry)(lambda: "hello"))
    app.add_url_rule("/other", "other", lambda: "other")
    Guard(app)

    send(app, "/other")

    assert samples(app, "orders_total") == {(): 0}


@pytest.mark.slow
def test_two_apps_of_one_registry_need_two_prefixes(make_app: MakeApp) -> None:
    registry = CollectorRegistry()
    first, second = make_app(), make_app()
    Guard(first, policies=[metrics(registry=registry)])

    with pytest.raises(ConfigError, match=r"has these names already\. Write another prefix for this app"):
        Guard(make_app(), policies=[metrics(registry=registry)])
    Guard(second, policies=[metrics(registry=registry, prefix="second")])
    send(first)
    send(second)

    assert sum(requests(first).values()) == sum(requests(second, "second").values()) == 1


@pytest.mark.slow
def test_an_app_that_has_gone_leaves_its_names_to_the_next(make_app: MakeApp) -> None:
    for _ in range(3):
        app = make_app()
        Guard(app, policies=[metrics(registry=REGISTRY, prefix="gone")])
        send(app)
        assert sum(requests(app, "gone").values()) == 1
        del app

    gc.collect()
    assert "gone_requests" not in [metric.name for metric in REGISTRY.collect()]


@pytest.mark.slow
def test_an_app_may_go_while_its_thread_registers_something(make_app: MakeApp) -> None:
    registry = CollectorRegistry()
    app = make_app()
    Guard(app, policies=[metrics(registry=registry)])
    gone = weakref.ref(app)

    class Collecting:
        """Has the garbage collector run while the registry is locked, as it may at any time."""

        def describe(self) -> list[Metric]:
            gc.collect()
            return []

        collect = describe

    app = make_app()
    thread = threading.Thread(target=registry.register, args=(Collecting(),), daemon=True)
    thread.start()
    thread.join(20)

    assert not thread.is_alive()
    assert gone() is None
    Guard(app, policies=[metrics(registry=registry)])


# Mistakes ----------------------------------------------------------------------------------------------------------


@together(
    ("options", "message"),
    [
        ({"prefix": "a-b"}, r"metrics\(prefix=…\) must be letters, digits and underscores, not 'a-b'"),
        ({"prefix": "1a"}, "must be letters"),
        ({"prefix": ""}, "must be letters"),
        ({"prefix": None}, "must be letters"),
        ({"buckets": ()}, r"metrics\(buckets=…\) must be seconds above 0, ascending"),
        ({"buckets": "12"}, "must be seconds"),
        ({"buckets": 5}, "must be seconds"),
        ({"buckets": (1, "2")}, "must be seconds"),
        ({"buckets": (True, 2)}, "must be seconds"),
        ({"buckets": (2, 1)}, "must be seconds"),
        ({"buckets": (1, 1)}, "must be seconds"),
        ({"buckets": (0, 1)}, "must be seconds"),
        ({"buckets": (1, float("inf"))}, "must be seconds"),
        ({"buckets": (1, float("nan"))}, "must be seconds"),
        ({"registry": "REGISTRY"}, r"metrics\(registry=…\) must be a prometheus_client\.CollectorRegistry"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_where_they_are_written(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        metrics(**options)


def test_unknown_options_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="metrics\\(\\) has no option 'bucket'; did you mean 'buckets'"):
        metrics(bucket=(1, 2))  # type: ignore[call-overload]


def test_one_prefix_with_two_sets_of_buckets_is_refused(app: Flask) -> None:
    app.add_url_rule("/", "index", metrics(buckets=(1, 2))(lambda: "hello"))

    with pytest.raises(
        ConfigError, match=r"metrics at .*: metrics\(buckets=…\) of one prefix must be the same everywhere"
    ):
        Guard(app, policies=[metrics])


def test_two_registries_in_one_app_are_refused(app: Flask) -> None:
    app.add_url_rule("/", "index", metrics(registry=CollectorRegistry())(lambda: "hello"))

    with pytest.raises(ConfigError, match="must be the same registry everywhere in an app"):
        Guard(app, policies=[metrics(registry=CollectorRegistry())])


PROGRAM = """
import sys
sys.modules["prometheus_client"] = None
from flask import Flask
from flask_guard import Guard, metrics
Guard(Flask("lacking"))
Guard(Flask("lacking"), policies=[metrics])
"""


@pytest.mark.slow
def test_without_prometheus_client_it_is_refused_when_the_app_is_set_up_with_the_command_that_installs_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    assert done.returncode == 1
    assert "ConfigError: metrics at <string>:7: metrics needs prometheus_client." in done.stderr
    assert "pip install 'flask-guard-kit[metrics]'" in done.stderr
