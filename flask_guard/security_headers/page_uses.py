"""Reading HTML pages and Jinja templates: the code that they run, and the URLs that they load."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin

PAGE = "https://this-site.invalid/"
"""The URL that stands for the page."""
_NONCE, _URL, _UNKNOWN = "\ue000", "\ue001", "\ue002"
"""Stand for expressions of a template: the nonce, a URL of the site, and anything else."""

_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{(?P<expression>.*?)\}\}", re.DOTALL)
_CANDIDATE = re.compile(r"[\s,]*([^\s,]\S*)(?:\s+[^,\s]+)?")
"""A URL in ``srcset`` and its descriptor: a comma ends one only before a blank."""
_CODE_TYPE = re.compile(
    r"(?:module|importmap|speculationrules|(?:text|application)/(?:x-)?(?:java|ecma)script"
    r"|text/(?:babel|jscript|livescript|javascript1\.[0-5]))?"
)
"""The types of scripts that run, and those that tell the browser what to load."""
_TEXT_ONLY = frozenset({"textarea", "title"})
"""Elements in which tags are text."""
_SET_NONCE = re.compile(r"\{%-?\s*set\s+(\w+)\s*=\s*(?:g\.)?csp_nonce\b")
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CSS_IMPORT = re.compile(r"@import\s+(?:url\(\s*)?[\"']?([^\"')\s;]+)", re.IGNORECASE)
_CSS_URL = re.compile(r"\burl\(\s*[\"']?([^#\"')][^\"')]*)[\"']?\s*\)", re.IGNORECASE)
_CSS_FONT = re.compile(r"@font-face\s*\{[^}]*\}", re.IGNORECASE)
_LOADS = {
    ("a", "ping"): "connect-src",
    ("area", "ping"): "connect-src",
    ("audio", "src"): "media-src",
    ("base", "href"): "base-uri",
    ("body", "background"): "img-src",
    ("button", "formaction"): "form-action",
    ("embed", "src"): "object-src",
    ("form", "action"): "form-action",
    ("iframe", "src"): "frame-src",
    ("image", "href"): "img-src",
    ("img", "src"): "img-src",
    ("input", "formaction"): "form-action",
    ("input", "src"): "img-src",
    ("object", "data"): "object-src",
    ("script", "href"): "script-src-elem",
    ("script", "src"): "script-src-elem",
    ("source", "src"): "media-src",
    ("track", "src"): "media-src",
    ("video", "poster"): "img-src",
    ("video", "src"): "media-src",
}
_LINKS = {
    "stylesheet": "style-src-elem",
    "icon": "img-src",
    "apple-touch-icon": "img-src",
    "mask-icon": "img-src",
    "manifest": "manifest-src",
    "modulepreload": "script-src-elem",
}
_PRELOADS = {"script": "script-src-elem", "style": "style-src-elem", "image": "img-src", "font": "font-src",
             "fetch": "connect-src", "audio": "media-src", "video": "media-src", "track": "media-src"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Use:
    """One thing that a page runs or loads.

    :ivar directive: the directive that is about it, such as ``script-src-attr``.
    :ivar kind: its sort, in words, such as ``event handler onclick``.
    :ivar url: the absolute URL that it loads; empty for what is written into the page.
    :ivar content: what is written there.
    :ivar has_nonce: whether it has the nonce of the response.
    :ivar is_known: whether the template says enough to judge; not if the URL is an expression.
    """

    line: int
    directive: str
    kind: str
    url: str = ""
    content: str = ""
    has_nonce: bool = False
    is_known: bool = True

    @property
    def shown(self) -> str:
        """Return the URL or the first characters of the content, on one line."""
        text = " ".join((self.url or self.content).split()).replace(_UNKNOWN, "{{…}}").replace(_URL, "{{…}}")
        return text if len(text) <= 60 else text[:59] + "…"


def uses_in(template: str) -> list[Use]:
    """Return the code and the URLs in a page or a template, in the order in which they are written."""
    nonces = re.compile("|".join((r"\bcsp_nonce\b", *(rf"^\s*{name}\b" for name in _SET_NONCE.findall(template)))))

    def blank(match: re.Match[str]) -> str:
        """Return a mark for a piece of Jinja, with as many lines, so that line numbers stay right."""
        expression, mark = match["expression"], ""
        if expression is not None:
            mark = _NONCE if nonces.search(expression) else _URL if "url_for" in expression else _UNKNOWN
        return mark + "\n" * match[0].count("\n")

    return _uses_in_html(_JINJA.sub(blank, template))


def _uses_in_html(html: str, line: int = 1) -> list[Use]:
    """Return the code and the URLs in HTML.

    :param line: the line at which the HTML begins.
    """
    parser = _PageParser(line)
    parser.feed(html)
    parser.close()
    return parser.uses


def uses_in_style(style: Use) -> Iterator[Use]:
    """Yield the URLs that a style in the page loads, once the browser applies the style."""
    css = _CSS_COMMENT.sub("", style.content)
    rest = _CSS_IMPORT.sub("", css)
    loaded = [("style-src-elem", url) for url in _CSS_IMPORT.findall(css)]
    loaded += [("font-src", url) for face in _CSS_FONT.findall(rest) for url in _CSS_URL.findall(face)]
    loaded += [("img-src", url) for url in _CSS_URL.findall(_CSS_FONT.sub("", rest))]
    for directive, url in loaded:
        yield _use_of_url(style.line, directive, f"url() in {style.kind}", url.strip(), has_nonce=False)


class _PageParser(HTMLParser):
    def __init__(self, line: int) -> None:
        super().__init__()
        self.uses: list[Use] = []
        self._first_line = line
        self._inside: Callable[[str], Use] | None = None
        self._content = ""
        self._text_only = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._text_only:
            return
        self._text_only = tag if tag in _TEXT_ONLY else ""
        line = self.getpos()[0] + self._first_line - 1
        given: dict[str, str] = {}
        for name, value in attrs:
            given.setdefault(name, value or "")  # the first of two counts
        has_nonce = _NONCE in given.get("nonce", "")
        self.uses += _inline_attributes(line, given)
        for directive, kind, url in _loaded(tag, given):
            self.uses.append(_use_of_url(line, directive, kind, url, has_nonce))
        if tag == "iframe" and "srcdoc" in given:
            self.uses += _uses_in_html(given["srcdoc"], line)
        if tag == "style":
            self._inside = lambda content: Use(line, "style-src-elem", "inline style", "", content, has_nonce)
        elif tag == "script" and "src" not in given and _CODE_TYPE.fullmatch(given.get("type", "").strip().lower()):
            self._inside = lambda content: Use(line, "script-src-elem", "inline script", "", content, has_nonce)

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self._content += data

    def handle_endtag(self, tag: str) -> None:
        if tag == self._text_only:
            self._text_only = ""
        if self._inside is not None and tag in ("script", "style"):
            if self._content.strip():
                self.uses.append(self._inside(self._content))
            self._inside, self._content = None, ""


def _inline_attributes(line: int, given: dict[str, str]) -> Iterator[Use]:
    """Yield the event handlers and the style among the attributes of an element."""
    for name, value in given.items():
        if name.startswith("on"):
            yield Use(line, "script-src-attr", f"event handler {name}", content=value)
        elif name == "style":
            yield Use(line, "style-src-attr", "style attribute", content=value)


def _loaded(tag: str, given: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the URLs that an element loads: the directive, the kind, and the URL as it is written."""
    for name, value in given.items():
        url = value.strip()
        if url.lower().startswith("javascript:") and name in ("href", "src", "action", "formaction", "xlink:href"):
            yield "script-src-elem", f"javascript: URL in <{tag} {name}>", url
        elif (tag, name.removeprefix("xlink:")) in _LOADS and url:
            yield _LOADS[tag, name.removeprefix("xlink:")], f"<{tag} {name}>", url
        elif name in ("srcset", "imagesrcset"):
            for candidate in _CANDIDATE.findall(value):
                yield "img-src", f"<{tag} {name}>", candidate.rstrip(",")
    if tag == "link" and given.get("href", "").strip():
        for directive in _linked(given):
            yield directive, f"<link rel={given.get('rel', '')}>", given["href"].strip()


def _linked(given: dict[str, str]) -> set[str]:
    relations = given.get("rel", "").lower().split()
    found = {_LINKS[each] for each in relations if each in _LINKS}
    if "preload" in relations and given.get("as", "").lower() in _PRELOADS:
        found.add(_PRELOADS[given["as"].lower()])
    return found


def _use_of_url(line: int, directive: str, kind: str, url: str, has_nonce: bool) -> Use:
    if url.lower().startswith("javascript:"):
        return Use(line, directive, kind, content=url, has_nonce=False)
    site = re.match(r"[a-z][a-z0-9+.-]*:(//)?[^/]*|//[^/]*|[^/]*", url, re.IGNORECASE)
    is_known = not url.startswith(_UNKNOWN) and _UNKNOWN not in (site[0] if site and "//" in site[0] else "")
    return Use(line, directive, kind, urljoin(PAGE, url.replace(_URL, "/")), "", has_nonce, is_known)
