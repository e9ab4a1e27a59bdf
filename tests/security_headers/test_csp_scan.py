"""The scan finds in templates, with file and line, the code and the URLs that policies would block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, render_template
from flask.views import MethodView, View

from flask_guard import Guard, SecureHeaders, secure_headers
from flask_guard.core.app_state import AppState
from flask_guard.core.start import start_serving
from flask_guard.security_headers.csp import parse_whole_csp
from flask_guard.security_headers.csp_scan import blocked_uses, scan
from flask_guard.security_headers.page_uses import uses_in
from tests.cases import together

PAGE = """\
{% extends "base.html" %}
{# <script src="https://commented.example/a.js"></script> #}
{% block head %}
<script src="{{ url_for('static', filename='own.js') }}"></script>
<script src="https://cdn.example/lib.js" integrity="sha384-x"></script>
<script
    nonce="{{ csp_nonce() }}"
>run({{ data|tojson }})</script>
<script>
    run()
</script>
<script type="application/json">{"no": "code"}</script>
<link rel="stylesheet" href="//cdn.example/style.css">
<style>body { color: red }</style>
{% endblock %}
{% block body %}
<a href="javascript:void(0)" onclick="return confirm('Sure?')">Delete</a>
<p style="color: {{ color }}">{{ text }}</p>
<img src="data:image/png;base64,AAAA" srcset="https://img.example/1.png 1x, /2.png 2x">
<img src="{{ order.image_url }}"><img src="https://{{ host }}/a.png"><img src="/orders/{{ order.id }}.png">
<form action="https://pay.example/" method="post"></form>
<iframe src="https://www.youtube.example/embed"></iframe>
<video src="/a.mp4" poster="https://img.example/poster.png"></video>
{% endblock %}
"""
POLICY = "default-src 'self'; script-src 'self' 'nonce'; form-action 'self'"
INLINE_STYLES = "default-src 'self'; style-src 'self' 'unsafe-inline'"


def blocked(template: str, policy: str = POLICY) -> list[tuple[int, str, str]]:
    return [(use.line, use.directive, use.kind) for use in blocked_uses(template, parse_whole_csp(policy, "csp"))]


def test_everything_that_is_blocked_is_found_with_its_line() -> None:
    assert blocked(PAGE) == [
        (5, "script-src-elem", "<script src>"),
        (9, "script-src-elem", "inline script"),
        (13, "style-src-elem", "<link rel=stylesheet>"),
        (14, "style-src-elem", "inline style"),
        (17, "script-src-attr", "event handler onclick"),
        (17, "script-src-elem", "javascript: URL in <a href>"),
        (18, "style-src-attr", "style attribute"),
        (19, "img-src", "<img src>"),
        (19, "img-src", "<img srcset>"),
        (20, "img-src", "<img src>"),
        (20, "img-src", "<img src>"),
        (21, "form-action", "<form action>"),
        (22, "frame-src", "<iframe src>"),
        (23, "img-src", "<video poster>"),
    ]


def test_url_that_the_template_does_not_tell_is_said_to_be_unknown() -> None:
    uses = [use for use in uses_in(PAGE) if use.line == 20]

    assert [(use.is_known, use.shown) for use in uses] == [
        (False, "https://this-site.invalid/{{…}}"),
        (False, "https://{{…}}/a.png"),
        (True, "https://this-site.invalid/orders/{{…}}.png"),
    ]


@together(
    ("template", "policy"),
    [
        ("<script>run()</script>", "script-src 'unsafe-inline'"),
        ("<script>run()</script>", "img-src 'none'"),
        ("<script></script><style> </style>", POLICY),
        ("<script type='text/template'><b onclick='x'></b></script>", POLICY),
        ("<script src='{{ url_for(\"static\", filename=f) }}'></script>", POLICY),
        ("<script src='/a.js'></script><script src=b.js></script>", POLICY),
        ("{% raw %}<b>{{ x }}</b>{% endraw %}<!-- <script>run()</script> -->", POLICY),
        ("<img src='{{ url_for(\"static\", filename=\"a.png\") }}'><img src=''><a href='https://x.example'>", POLICY),
        ("<link rel=preconnect href=https://cdn.example><link rel='icon' href='/i.png'>", POLICY),
        ("<form action='' method=post></form><form></form>", "form-action 'self'"),
        ("<img srcset='data:image/png;base64,AA 1x,/b.png 2x, /c.png'>", "img-src 'self' data:"),
        ("<svg><use href='#a'></use></svg><button type=button>", POLICY),
        ("<textarea><script>run()</script></textarea><title><b onclick='x'></title>", POLICY),
        ("{% set n = csp_nonce() %}<script nonce='{{ n }}'>run()</script>", POLICY),
        ("{%- set n = g.csp_nonce -%}<script nonce='{{n|e}}'>run()</script>", POLICY),
        ("<style>/* url(https://x.example/) */ a { background: url('/a.png'), url(#b) }</style>", INLINE_STYLES),
    ],
)
def test_what_is_allowed_is_not_found(template: str, policy: str) -> None:
    assert blocked(template, policy) == []


@together(
    ("template", "directive"),
    [
        ("<link rel=modulepreload href=https://cdn.example/a.js>", "script-src-elem"),
        ("<link rel=preload as=font href=https://cdn.example/a.woff2>", "font-src"),
        ("<link rel='shortcut icon' href=https://cdn.example/i.ico>", "img-src"),
        ("<link rel=manifest href=https://cdn.example/m.json>", "manifest-src"),
        ("<script type=module>run()</script>", "script-src-elem"),
        ("<script type=importmap>{}</script>", "script-src-elem"),
        ("<object data=https://cdn.example/x></object>", "object-src"),
        ("<audio><source src=https://cdn.example/a.ogg></audio>", "media-src"),
        ("<svg><image xlink:href=https://cdn.example/a.png /></svg>", "img-src"),
        ("<input type=image src=https://cdn.example/a.png>", "img-src"),
        ("<button formaction=https://pay.example/>", "form-action"),
        ("<BODY ONLOAD='run()'>", "script-src-attr"),
        ("<script nonce='fixed'>run()</script>", "script-src-elem"),
        ("<b onclick='a()' {% if x %}data-x{% endif %}>", "script-src-attr"),
        ("<a href='/' ping=https://count.example/></a>", "connect-src"),
        ("<svg><script href=https://cdn.example/a.js></script></svg>", "script-src-elem"),
        ("<script type='application/x-javascript'>run()</script>", "script-src-elem"),
        ("<iframe srcdoc='<script>run()</script>'></iframe>", "script-src-elem"),
        ("{% set n = name %}<script nonce='{{ n }}'>run()</script>", "script-src-elem"),
        ("<title>T</title><textarea></textarea><script>run()</script>", "script-src-elem"),
    ],
)
def test_each_sort_of_thing_is_found(template: str, directive: str) -> None:
    assert [found for _, found, _ in blocked(template)] == [directive]


@pytest.mark.parametrize(
    ("css", "directive"),
    [
        ("@import url(https://cdn.example/a.css);", "style-src-elem"),
        ("@import 'https://cdn.example/a.css' screen;", "style-src-elem"),
        ("@font-face { font-family: a; src: url('https://cdn.example/a.woff2') format('woff2') }", "font-src"),
        ("b { background: url( https://cdn.example/a.png ) }", "img-src"),
        ("b { background: URL(data:image/png;base64,AAAA) }", "img-src"),
    ],
)
def test_what_a_style_loads_is_found_where_the_style_is_allowed(css: str, directive: str) -> None:
    assert [found for _, found, _ in blocked(f"<style>{css}</style>", INLINE_STYLES)] == [directive]
    assert [found for _, found, _ in blocked(f"<style>{css}</style>")] == ["style-src-elem"]


def test_line_of_what_a_frame_contains_is_that_of_the_template() -> None:
    template = "<h1>Orders</h1>\n<iframe srcdoc='<p>\n<b onclick=run()>'></iframe>"

    assert blocked(template) == [(3, "script-src-attr", "event handler onclick")]


# Which policy holds for which template -----------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Return an app with templates: a page, its base, one that is included, one of a blueprint, one of nobody."""
    for name, text in {
        "base.html": "<title>{% block t %}{% endblock %}</title>\n<p style='x'></p>",
        "page.html": "{% extends 'base.html' %}{% block t %}{% include 'part.html' %}{% endblock %}",
        "part.html": "\n\n<b onclick='run()'></b>",
        "list.html": "<b onclick='run()'></b>",
        "mail.html": "<img src='https://img.example/logo.png'>",
        "broken.html": "{% if %}<b onclick='run()'></b>",
        "notes.txt": "<b onclick='run()'></b>",
    }.items():
        (tmp_path / name).write_text(text)
    return Flask("scanned", template_folder=str(tmp_path))


def findings(app: Flask) -> set[tuple[str, int, str, tuple[str, ...]]]:
    state = AppState.of(app)
    with app.app_context():
        start_serving(state)
        return {(each.template, each.use.line, each.use.directive, each.endpoints) for each in scan(state)}


def render_page() -> str:
    return render_template("page.html")


def indirect() -> str:
    return render_page()


class PageView(View):
    def dispatch_request(self) -> str:
        return render_template("page.html")


class Pages(MethodView):
    template = "page.html"

    def get(self) -> str:
        return render_template(self.template)


VIEWS: dict[str, Any] = {
    "function": render_page,
    "function that calls another": indirect,
    "shim": secure_headers(hsts=None)(lambda: render_template("page.html")),
    "view class": PageView.as_view("page"),
    "method view": Pages.as_view("page"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_templates_are_judged_by_the_policy_of_the_view_that_names_them(app: Flask, view: str) -> None:
    app.add_url_rule("/", "page", VIEWS[view])
    app.add_url_rule("/list", "list", lambda: render_template("list.html"))
    inline = {"script-src": "'unsafe-inline'"}
    app.view_functions["list"] = secure_headers(csp=inline)(app.view_functions["list"])
    Guard(app, policies=[secure_headers])

    assert findings(app) == {
        ("base.html", 2, "style-src-attr", ("page",)),
        ("part.html", 3, "script-src-attr", ("page",)),
        ("mail.html", 1, "img-src", ()),
        ("broken.html", 1, "script-src-attr", ()),
    }


def test_template_of_two_policies_is_judged_by_both(app: Flask) -> None:
    loose = secure_headers(csp={"style-src": "'unsafe-inline'"})
    app.add_url_rule("/a", "a", render_page)
    app.add_url_rule("/b", "b", loose(lambda: render_template("page.html")))
    Guard(app, policies=[secure_headers])

    found = {each for each in findings(app) if each[0] in ("base.html", "part.html")}

    assert found == {
        ("base.html", 2, "style-src-attr", ("a",)),
        ("part.html", 3, "script-src-attr", ("a",)),
        ("part.html", 3, "script-src-attr", ("b",)),
    }


@pytest.mark.parametrize("policies", [[], [secure_headers(csp=None)]])
def test_app_without_a_policy_has_no_findings(app: Flask, policies: list[SecureHeaders]) -> None:
    app.add_url_rule("/", "page", render_page)
    Guard(app, policies=policies)

    assert findings(app) == set()


def test_policy_that_is_only_reported_is_looked_at_too(app: Flask) -> None:
    app.add_url_rule("/", "page", render_page)
    Guard(app, policies=[secure_headers(mode="report")])

    assert ("part.html", 3, "script-src-attr", ("page",)) in findings(app)


def test_templates_of_blueprints_are_found(app: Flask, tmp_path: Path) -> None:
    folder = tmp_path / "of_blueprint"
    folder.mkdir()
    (folder / "inner.html").write_text("<b onclick='run()'></b>")
    blueprint = Blueprint("pages", __name__, template_folder=str(folder))
    blueprint.add_url_rule("/inner", "inner", lambda: render_template("inner.html"))
    app.register_blueprint(blueprint)
    Guard(app, policies=[secure_headers])

    assert ("inner.html", 1, "script-src-attr", ("pages.inner",)) in findings(app)
