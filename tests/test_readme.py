"""The README tells the truth: its code runs, and its commands do what it says."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from flask_guard import ConfigError
from flask_guard.concerns import ALL_SETTINGS
from tests.conftest import free_port, is_listening, stop, wait_for
from tests.readme import README, ROOT, CurlCall, blocks, curl_calls


@pytest.fixture(scope="module")
def readme() -> Iterator[dict[str, Any]]:
    """Return the names that the README's Python, run from top to bottom, defines."""
    module = sys.modules["readme"] = ModuleType("readme")
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec", dont_inherit=True), vars(module))  # noqa: S102
    yield vars(module)
    del sys.modules["readme"]


def test_python_of_the_readme_runs(readme: dict[str, Any]) -> None:
    app: Flask = readme["app"]
    client = app.test_client()

    answers = {
        "/catalogue": client.get("/catalogue", headers={"Origin": "https://x.shop.example"}),
        "/login": client.post("/login"),
        "/search": client.get("/search?tenant=a&deep"),
        "/sessions": client.post("/sessions", data={"password": "correct horse"}),
        "/exports": client.post("/exports"),
        "/report": client.get("/report"),
        "/logout": client.post("/logout"),
        "/admin/report": client.get("/admin/report?page=2"),
        "/slow": client.get("/slow"),
        "/uploads": client.post("/uploads", data=b"a,b", content_type="text/csv", headers={"X-Upload-Name": "a.csv"}),
    }

    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert answers["/catalogue"].headers["Access-Control-Allow-Origin"] == "https://x.shop.example"
    assert answers["/login"].headers["RateLimit-Policy"] == '"5-per-minute";q=5;w=60, "50-per-day";q=50;w=86400'
    assert '"10-per-second";r=8;t=' in answers["/search"].headers["RateLimit"]
    assert answers["/sessions"].headers["RateLimit"] == '"5-per-minute";r=5;t=60'
    assert answers["/exports"].get_json() == {"remaining": 98}
    assert "; img-src *;" in answers["/report"].headers["Content-Security-Policy"]
    assert "https://cdn.example" in answers["/report"].headers["Content-Security-Policy"]
    assert answers["/logout"].headers["Clear-Site-Data"] == '"cache", "cookies", "storage"'
    assert re.fullmatch(
        r'total;dur=[\d.]+, db;dur=[\d.]+;desc="Orders"', answers["/admin/report"].headers["Server-Timing"]
    )
    assert float(answers["/slow"].headers["X-Seconds"]) >= 0


def test_tests_of_the_readme_pass(readme: dict[str, Any]) -> None:
    tests = [name for name in readme if name.startswith(("test_orders", "test_deleting", "test_pages"))]

    assert tests == [
        "test_orders_need_a_key",
        "test_deleting_needs_a_scope",
        "test_pages_of_the_shop_may_call_the_catalogue",
    ]
    for name in tests:
        readme[name]()


def test_error_handler_of_the_readme_renders_the_429(readme: dict[str, Any]) -> None:
    client = readme["app"].test_client()

    answer = next(each for each in (client.post("/login") for _ in range(6)) if each.status_code == 429)

    assert answer.get_json() == {"error": "slow down", "policies": ["5-per-minute"]}
    assert int(answer.headers["Retry-After"]) >= 1


def test_rules_of_the_readme_refuse_what_it_says(readme: dict[str, Any]) -> None:
    client = readme["app"].test_client()

    def upload(**options: Any) -> int:
        sent = {"data": b"a,b", "content_type": "text/csv", "headers": {"X-Upload-Name": "a.csv"}, **options}
        return int(client.post("/uploads", **sent).status_code)

    assert upload(content_type="text/plain") == 415
    assert upload(data=b"x" * 5_000_001) == 413
    assert upload(headers={}) == 400
    assert client.get("/internal/x", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/internal/x", environ_overrides={"REMOTE_ADDR": "192.0.2.1"}).status_code == 403
    assert client.get("/internal/x").status_code == 404


def test_prices_of_the_readme_are_stored_and_revalidated(readme: dict[str, Any]) -> None:
    client = readme["app"].test_client()

    first = client.get("/prices")
    again = client.get("/prices", headers={"If-None-Match": first.headers["ETag"]})

    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert (again.status_code, again.data) == (304, b"")


def test_manual_of_the_readme_is_compressed(readme: dict[str, Any]) -> None:
    answer = readme["app"].test_client().get("/manual", headers={"Accept-Encoding": "gzip, br"})

    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("br", "Accept-Encoding")
    assert len(answer.data) < 200


def test_pages_of_other_origins_are_refused_as_the_readme_says(readme: dict[str, Any]) -> None:
    client = readme["shop"].test_client()
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example.com"}

    statuses = [client.post(path, headers=foreign).status_code for path in ("/address", "/basket")]

    assert statuses == [403, 200]
    assert client.post("/address", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_keys_of_the_readme_open_what_it_says(readme: dict[str, Any]) -> None:
    client = readme["app"].test_client()

    answer = client.delete("/orders/7", headers={"Authorization": "Bearer test"})

    assert answer.get_json() == {"deleted": 7, "by": "shop"}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "policy"), [("/reviews", "require_json"), ("/ratings", "json_only")])
def test_policies_of_ones_own_in_the_readme_refuse_and_let_through(
    readme: dict[str, Any], path: str, policy: str
) -> None:
    app: Flask = readme["app"]
    client = app.test_client()

    answers = [
        client.post(path, json={"stars": 5}),
        client.post(path, data="stars=5"),
        client.post(path, json={"stars": 5, "text": "x" * 1000}),
    ]

    assert [answer.status_code for answer in answers] == [200, 415, 415]
    assert policy in app.extensions["guard"].guard.plan_for(path.replace("/", "add_")[:-1], "POST").names
    if policy == "require_json":
        assert answers[1].content_type == "application/problem+json"
        with pytest.raises(ConfigError, match=r"require_json\(max_bytes=…\) must be a whole number of bytes"):
            readme["require_json"](max_bytes="many")


def test_quickstart_in_the_readme_is_the_example() -> None:
    assert blocks("python")[0] == (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8")


def test_readme_names_every_config_key() -> None:
    keys = [setting.key for setting in ALL_SETTINGS]

    assert len(keys) > 10
    assert [key for key in keys if f"| `{key}` |" not in README] == []


SERVERS = {
    "flask": ["flask", "--app", "examples.quickstart", "run", "--port", "{port}"],
    "gunicorn": ["gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", "examples.quickstart:app"],
}


@pytest.fixture(scope="module", params=[pytest.param(each, marks=pytest.mark.slow) for each in SERVERS])
def quickstart(request: pytest.FixtureRequest) -> Iterator[int]:
    """Return the port of a running quickstart."""
    port = free_port()
    command = [word.format(port=port) for word in SERVERS[request.param]]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "WERKZEUG_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: is_listening(port), process)
        yield port
    finally:
        stop(process)


def call(port: int, curl: CurlCall) -> int:
    """Send what `curl` would send, to the server at `port`; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(curl.method, urlsplit(curl.url).path, curl.body, curl.headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_curl_commands_answer_as_promised(quickstart: int) -> None:
    calls = curl_calls()

    statuses = [call(quickstart, curl) for curl in calls]

    assert len(calls) == 9
    assert statuses == [curl.status for curl in calls]


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: str(block).splitlines()[0])
def test_commands_of_the_readme_print_what_it_shows(block: str) -> None:
    command, *shown = block.removeprefix("$ flask ").splitlines()
    parts = "\n".join(shown).split("⋮")

    result = subprocess.run(
        [sys.executable, "-m", "flask", *shlex.split(command)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == (1 if " guard audit" in command else 0), result.stderr
    rest = without_costs(result.stdout)
    for part in (without_costs(each).strip("\n") for each in parts):
        assert part in rest
        rest = rest[rest.index(part) + len(part) :]


def without_costs(text: str) -> str:
    """Return the output of a command without what differs from run to run, and between versions of Python."""
    text = re.sub(r"[\d.]+( \+ [\d.]+)? µs", "µs", text)
    return re.sub(r"(?<=\.py:)\d+", "N", text) if sys.version_info < (3, 11) else text  # decorators have no line there
