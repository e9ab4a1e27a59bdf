"""The records of `log_timing` are what the standard library would have made."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from flask_guard.wsgi.access_record import Records

FIELDS = {"method": "GET", "status": 200}


@pytest.fixture
def records() -> Records:
    return Records("shop.access", "%(method)s %(status)s", "shop")


def test_record_has_every_attribute_that_a_standard_one_has(records: Records) -> None:
    standard = logging.LogRecord("shop.access", logging.INFO, "file", 1, "message", (), None)
    records.make(logging.INFO, FIELDS)

    record = records.make(logging.INFO, FIELDS)

    assert set(record.__dict__) == {*standard.__dict__, *FIELDS}
    for name in ("name", "levelname", "levelno", "process", "processName", "thread", "threadName"):
        assert getattr(record, name) == getattr(standard, name)


def test_record_formats_its_message_and_time(records: Records) -> None:
    before = time.time()
    records.make(logging.WARNING, FIELDS)

    record = records.make(logging.WARNING, FIELDS)

    assert logging.Formatter("%(levelname)s %(message)s").format(record) == "WARNING GET 200"
    assert before <= record.created <= time.time()
    assert record.msecs == int(record.created % 1 * 1000)
    assert abs(record.relativeCreated - (record.created - before) * 1000) < 3_600_000


def test_record_names_the_thread_that_makes_it(records: Records) -> None:
    made: list[logging.LogRecord] = []
    records.make(logging.INFO, FIELDS)
    thread = threading.Thread(target=lambda: made.append(records.make(logging.INFO, FIELDS)), name="worker")
    thread.start()
    thread.join()

    assert (made[0].threadName, made[0].thread) == ("worker", thread.ident)


@pytest.fixture
def own_factory() -> Iterator[None]:
    class Tagged(logging.LogRecord):
        tag = "of the application"

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Tagged)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("own_factory")
def test_factory_of_the_application_makes_the_record(records: Records) -> None:
    record = records.make(logging.INFO, FIELDS)

    assert (record.tag, record.status, record.getMessage()) == (  # type: ignore[attr-defined]
        "of the application",
        200,
        "GET 200",
    )


def test_each_record_has_the_defaults_beside_its_own_fields(request: pytest.FixtureRequest) -> None:
    records = Records("shop.access", "%(status)s", "shop", {"status": 0, "reason": None})

    def made(*fields: dict[str, object]) -> list[tuple[object, object]]:
        return [(vars(each)["status"], vars(each)["reason"]) for each in (records.make(20, given) for given in fields)]

    expected = [(429, "exceeded"), (200, None), (0, None)]
    assert made({"status": 429, "reason": "exceeded"}, {"status": 200}, {}) == expected

    request.getfixturevalue("own_factory")
    assert made({"status": 429, "reason": "exceeded"}, {"status": 200}, {}) == expected


def test_forked_worker_has_its_own_process_in_its_records() -> None:
    program = (
        "import os, logging; from flask_guard.wsgi.access_record import Records;"
        " records = Records('a', 'b', 'c'); records.make(20, {}); child = os.fork();"
        " same = records.make(20, {}).process == os.getpid();"
        " os._exit(0 if same else 1) if child == 0 else None;"
        " print(same, os.waitpid(child, 0)[1])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["True", "0"]
