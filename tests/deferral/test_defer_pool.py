"""`defer`: how many run at a time, how many wait, what becomes of one more, and of all when the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from flask_guard import ConfigError, Guard, defer, defer_queue_full
from tests.conftest import MakeApp

pytestmark = pytest.mark.slow


class Gate:
    """A function that waits until it is let go, and counts how many are in it at a time."""

    def __init__(self) -> None:
        self.most = 0
        self.begun = 0
        self.ended = 0
        self._inside = 0
        self._open = threading.Event()
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self._inside += 1
            self.begun += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
        self._open.wait(10)
        with self._changed:
            self._inside -= 1
            self.ended += 1
            self._changed.notify_all()

    def wait(self, condition: Callable[[Gate], bool]) -> None:
        """Wait until `condition` holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), 5)

    def open(self) -> None:
        """Let everybody go."""
        self._open.set()


def guarded(make_app: MakeApp, **config: Any) -> Flask:
    app = make_app(**config)
    Guard(app)
    return app


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "flask_guard-defer"]


def test_no_more_run_at_a_time_than_there_are_workers(make_app: MakeApp) -> None:
    app = guarded(make_app, GUARD_DEFER_WORKERS=2)
    gate = Gate()

    with app.app_context():
        for _ in range(5):
            defer(gate)
    gate.wait(lambda gate: gate.begun == 2)
    assert len(threads()) == 2
    gate.open()
    gate.wait(lambda gate: gate.ended == 5)

    assert gate.most == 2


def test_threads_are_made_for_work_used_again_and_end_without_it(make_app: MakeApp) -> None:
    app = guarded(make_app, GUARD_DEFER_WORKERS=4)
    used: set[int] = set()
    assert threads() == []

    def work(done: threading.Event) -> None:
        used.add(threading.get_ident())
        done.set()

    with app.app_context():
        for _ in range(5):
            done = threading.Event()
            defer(work, done)
            assert done.wait(5)
            time.sleep(0.01)  # until its thread waits for more

    assert len(used) == 1
    for thread in threads():
        thread.join(5)
    assert threads() == []


def full(make_app: MakeApp, gate: Gate, **config: Any) -> Flask:
    """Return an app whose one worker is busy, and whose queue of two is full."""
    app = guarded(make_app, GUARD_DEFER_WORKERS=1, GUARD_DEFER_QUEUE=2, **config)
    with app.app_context():
        for _ in range(3):
            defer(gate)
    gate.wait(lambda gate: gate.begun == 1)
    return app


@pytest.mark.parametrize(("config", "dropped"), [({}, False), ({"GUARD_DEFER_FULL": "drop"}, True)])
def test_one_more_than_fit_runs_in_line_or_is_dropped_with_a_signal(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, config: dict[str, str], dropped: bool
) -> None:
    gate = Gate()
    app = full(make_app, gate, **config)
    ran: list[str] = []
    told: list[tuple[object, object, bool]] = []

    def tell(sender: object, **said: Any) -> None:
        told.append((sender, said["function"], said["dropped"]))

    def more() -> None:
        ran.append(threading.current_thread().name)

    with defer_queue_full.connected_to(tell), app.app_context():
        defer(more)
        defer(more)
    gate.open()
    gate.wait(lambda gate: gate.ended == 3)

    assert ran == ([] if dropped else [threading.current_thread().name] * 2)
    assert told == [(app, more, dropped)] * 2
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["the queue of deferred calls is full: 3 are waiting or running"]


def test_a_receiver_that_fails_harms_nobody(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    app = full(make_app, gate)
    ran: list[str] = []

    def fail(sender: object, **said: Any) -> None:
        raise ZeroDivisionError

    with defer_queue_full.connected_to(fail), app.app_context():
        defer(ran.append, "a")
    gate.open()

    assert ran == ["a"]
    assert "a receiver of defer_queue_full failed" in caplog.messages


def test_there_is_room_again_when_some_have_ended(make_app: MakeApp) -> None:
    gate = Gate()
    app = full(make_app, gate, GUARD_DEFER_FULL="drop")
    gate.open()
    gate.wait(lambda gate: gate.ended == 3)
    done = threading.Event()

    deadline = time.monotonic() + 5
    while not done.is_set() and time.monotonic() < deadline:
        with app.app_context():
            defer(done.set)
        done.wait(0.05)

    assert done.is_set()


def test_apps_have_pools_of_their_own(make_app: MakeApp) -> None:
    gate = Gate()
    full(make_app, gate, GUARD_DEFER_FULL="drop")
    other = guarded(make_app, GUARD_DEFER_FULL="drop")
    done = threading.Event()

    with other.app_context():
        defer(done.set)

    assert done.wait(5)
    gate.open()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"GUARD_DEFER_WORKERS": 0}, "GUARD_DEFER_WORKERS must be a whole number of at least 1, not 0"),
        ({"GUARD_DEFER_WORKERS": True}, "GUARD_DEFER_WORKERS must be a whole number"),
        ({"GUARD_DEFER_QUEUE": "many"}, "GUARD_DEFER_QUEUE must be a whole number of at least 1, not 'many'"),
        ({"GUARD_DEFER_FULL": "wait"}, "GUARD_DEFER_FULL must be one of 'run', 'drop', not 'wait'"),
        ({"GUARD_DEFER_FULL": None}, "GUARD_DEFER_FULL must be one of"),
        ({"GUARD_DEFER_DRAIN": -1}, "GUARD_DEFER_DRAIN must be seconds from 0 up, not -1"),
        ({"GUARD_DEFER_DRAIN": float("inf")}, "GUARD_DEFER_DRAIN must be seconds"),
        ({"GUARD_DEFER_DRAIN": float("nan")}, "GUARD_DEFER_DRAIN must be seconds"),
        ({"GUARD_DEFER_DRAIN": None}, "GUARD_DEFER_DRAIN must be seconds"),
    ],
)
def test_config_that_cannot_be_meant_is_refused(make_app: MakeApp, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Guard(make_app(**config))


# The end of the process --------------------------------------------------------------------------------------------

PROGRAM = """
    import os, sys, time
    from flask import Flask
    from flask_guard import Guard, defer

    app = Flask("ends")
    app.config["GUARD_DEFER_WORKERS"] = 2
    app.config["GUARD_DEFER_DRAIN"] = {drain}
    Guard(app)

    def work(number):
        time.sleep({seconds})
        os.write(1, b"%s\\n" % str(number).encode())

    with app.app_context():
        for number in range(6):
            defer(work, number)
"""


def end(drain: float, seconds: float, more: str = "", status: int = 0) -> tuple[list[str], str, float]:
    """Run a program that defers and ends with `status`.

    Return what its deferred calls printed, its log, and how long it took.
    """
    program = textwrap.dedent(PROGRAM.format(drain=drain, seconds=seconds)) + textwrap.dedent(more)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=os.curdir,
    )
    assert done.returncode == status, done.stderr
    return sorted(done.stdout.split()), done.stderr, time.monotonic() - began


@pytest.mark.slow
def test_a_process_that_ends_finishes_what_it_has_deferred() -> None:
    printed, log, _ = end(drain=20, seconds=0.1)

    assert (printed, log) == ([str(number) for number in range(6)], "")


@pytest.mark.slow
def test_a_process_that_ends_waits_no_longer_than_it_may() -> None:
    printed, log, took = end(drain=0.5, seconds=60)

    assert printed == []
    assert took < 45
    assert log.count("__main__.work") == 6
    assert "were cut off or never begun after 0.5 s" in log


@pytest.mark.slow
def test_what_is_deferred_while_the_process_ends_runs() -> None:
    printed, log, _ = end(
        drain=20,
        seconds=0,
        more="""
            import atexit
            def at_exit():
                with app.app_context():
                    defer(work, "exit")
            atexit.register(at_exit)
        """,
    )

    assert (printed, log) == ([*map(str, range(6)), "exit"], "")


@pytest.mark.slow
def test_a_forked_process_has_a_pool_of_its_own_and_leaves_the_parents_alone() -> None:
    printed, log, _ = end(
        drain=20,
        seconds=0.2,
        more="""
            child = os.fork()
            with app.app_context():
                defer(work, "child" if child == 0 else "parent")
            if child:
                os.waitpid(child, 0)
        """,
    )

    assert (printed, log) == ([*map(str, range(6)), "child", "parent"], "")


SIGTERM = """
    import signal
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_process_that_gets_sigterm_finishes_what_it_has_deferred_and_dies_as_by_default() -> None:
    printed, log, _ = end(drain=20, seconds=0.1, more=SIGTERM, status=-signal.SIGTERM)

    assert (printed, log) == ([str(number) for number in range(6)], "")


@pytest.mark.slow
def test_a_process_that_gets_sigterm_twice_dies_at_once() -> None:
    again = "import threading; threading.Timer(0.5, os.kill, (os.getpid(), 15)).start()"

    printed, _, took = end(drain=60, seconds=60, more=again + textwrap.dedent(SIGTERM), status=-signal.SIGTERM)

    assert printed == []
    assert took < 30


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Let SIGTERM do for a test what it does by default."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
def test_a_handler_of_the_app_stays(make_app: MakeApp) -> None:
    def handler(_number: int, _frame: object) -> None:
        """Do what the app wants."""

    signal.signal(signal.SIGTERM, handler)
    Guard(make_app())

    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.usefixtures("sigterm")
def test_several_apps_share_one_handler(make_app: MakeApp) -> None:
    Guard(make_app())
    handler = signal.getsignal(signal.SIGTERM)
    Guard(make_app())

    assert callable(handler)
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.usefixtures("sigterm")
def test_a_guard_that_is_made_in_another_thread_sets_no_handler(make_app: MakeApp) -> None:
    thread = threading.Thread(target=Guard, args=(make_app(),))
    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
