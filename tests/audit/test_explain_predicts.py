"""The explanation of a request predicts the status and fields of its response, for requests to generated apps."""

from __future__ import annotations

import logging
import random
import re

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flask_guard.audit.example_paths import example_path
from flask_guard.audit.explain import explain
from flask_guard.audit.masking import shown_value
from flask_guard.audit.rehearsal import Asked

from .generated_apps import KEY, METHODS, ORIGIN, generated_app

pytestmark = pytest.mark.slow

CREDENTIALS = (
    ("X-API-Key", KEY), ("X-API-Key", "wrong"), ("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer wrong"),
    ("X-User", "ada"), ("X-Token", KEY), ("X-JWT", "wrong"), ("Origin", ORIGIN), ("Origin", "https://other.example"),
    ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-origin"), ("Cookie", "session=x"),
    ("Content-Type", "application/json"), ("X-Answer", "418"), ("X-Answer", "500"), ("Accept", "text/html"),
)  # fmt: skip
CHANGING = re.compile(r"(?<=;t=)\d+")
"""Seconds until a limit opens: they pass."""
REQUESTS = 60


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_explanation_predicts_the_response(seed: int) -> None:
    logging.getLogger("generated.access").setLevel(logging.CRITICAL)
    app, draw = generated_app(seed, 40, more=True), random.Random(seed)  # noqa: S311
    for _ in range(REQUESTS):
        asked = drawn_request(app, draw)

        predicted = explain(app, asked, run_view="always")
        real = app.test_client(use_cookies=False).open(
            asked.path,
            method=asked.method,
            headers=list(asked.headers),
            environ_overrides={"REMOTE_ADDR": asked.address},
        )

        assert predicted["answer"]["status"] == real.status_code, asked
        assert shown(predicted["answer"]["headers"]) == shown([*map(list, real.headers.items())], mask=True), asked
        verdicts = {each["verdict"] for each in predicted["policies"]}
        assert ("denied" in verdicts) == (predicted["decision"]["by"] == "policy" and real.status_code >= 400), asked


def shown(fields: list[list[str]], *, mask: bool = False) -> list[tuple[str, str]]:
    """Return response fields without what no explanation can know: ids that are drawn, and jitter."""
    masked = [(name, shown_value(name, value) if mask else value) for name, value in fields]
    return [
        (name, "…" if name in ("X-Request-ID", "Retry-After") else CHANGING.sub("…", value)) for name, value in masked
    ]


def drawn_request(app: Flask, draw: random.Random) -> Asked:
    rule = draw.choice(list(app.url_map.iter_rules()))
    path = example_path(rule).replace("example", draw.choice(["a", "c", "example"]), 1)
    path = draw.choice([path] * 8 + [f"{path}/none", path.rstrip("/"), f"/a{path}"])
    method = draw.choice([*sorted(rule.methods or ()), *METHODS, "HEAD", "OPTIONS"])
    headers = tuple(dict(draw.sample(CREDENTIALS, draw.randint(0, 6))).items())
    if draw.random() < 0.15:
        headers = (("Origin", ORIGIN), ("Access-Control-Request-Method", method))
        method = "OPTIONS"
    return Asked(method, path, headers, address=f"192.0.2.{draw.randint(1, 9)}")
