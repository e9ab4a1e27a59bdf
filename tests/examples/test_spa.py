"""``examples/spa`` starts as its documentation says, and guards what it says; tests/browser has a browser drive it."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path

import pytest

from examples.spa.api import create_api
from examples.spa.pages import create_pages
from tests.conftest import free_port, is_listening, stop, wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PAGE = "http://localhost:5000"


@pytest.mark.parametrize("origin", ["http://localhost:5001", "http://evil.example", "null"])
def test_the_api_takes_writes_from_its_page_alone(origin: str) -> None:
    client = create_api(PAGE).test_client()
    login = {"user": "ada"}

    assert client.post("/session", json=login, headers={"Origin": origin}).status_code == 403
    assert client.post("/session", json=login, headers={"Origin": PAGE}).status_code == 201
    refused = client.post("/orders", json={"item": "tea"}, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    served = client.post("/orders", json={"item": "tea"}, headers={"Origin": PAGE, "Sec-Fetch-Site": "same-site"})
    assert (refused.status_code, served.status_code) == (403, 201)
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert served.headers["Access-Control-Allow-Credentials"] == "true"


def test_the_api_lists_the_orders_of_the_user_alone() -> None:
    api = create_api(PAGE)
    for user in ("ada", "bob"):
        client = api.test_client()
        client.post("/session", json={"user": user}, headers={"Origin": PAGE})
        client.post("/orders", json={"item": "tea"}, headers={"Origin": PAGE})
        assert client.get("/orders").get_json() == [{"by": user, "item": "tea"}]


def test_the_products_are_public_and_may_be_stored_and_the_orders_are_not() -> None:
    client = create_api(PAGE).test_client()

    products = client.get("/products", headers={"Origin": "https://anywhere.example"})

    assert products.headers["Access-Control-Allow-Origin"] == "*"
    assert products.headers["Cache-Control"] == "public, max-age=60"
    assert client.get("/products", headers={"If-None-Match": products.headers["ETag"]}).status_code == 304
    client.post("/session", json={"user": "ada"}, headers={"Origin": PAGE})
    assert client.get("/orders").headers["Cache-Control"] == "no-store"


def test_the_page_has_a_new_nonce_each_time_and_is_not_stored() -> None:
    client = create_pages("http://localhost:5001").test_client()

    answers = [client.get("/") for _ in range(2)]

    policies = [answer.headers["Content-Security-Policy"] for answer in answers]
    assert policies[0] != policies[1]
    assert all("connect-src 'self' http://localhost:5001" in policy for policy in policies)
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 2


def test_both_servers_start() -> None:
    ports = [free_port(), free_port()]
    command = ["-m", "examples.spa", "--page-port", str(ports[0]), "--api-port", str(ports[1])]
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout:
        try:
            wait_for(lambda: all(map(is_listening, ports)), process)
            statuses = []
            for port, path in zip(ports, ("/", "/products"), strict=True):
                connection = http.client.HTTPConnection("localhost", port, timeout=20)
                connection.request("GET", path)
                statuses.append(connection.getresponse().status)
                connection.close()
        finally:
            stop(process)

    assert statuses == [200, 200]
