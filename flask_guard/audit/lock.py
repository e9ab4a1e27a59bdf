"""The lock file: the protection of every endpoint as text, for reviews and for ``flask guard check``.

The file is sorted and names no machine, time or line of code, so only a change of the protection changes the file. A
block begins with the name of an endpoint, and has one line for each policy, with the options that are not the defaults.
The file also lists the defaults, so that a new version of the package cannot change them unseen.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.config import ENABLED
from ..core.facts import Entry, Foreign, Inventory
from ..core.plan import Plan
from ..errors import ConfigError
from ..support.text import printable

SCHEMA = "flask_guard.lock/1"
DEFAULTS, APP = "defaults", "app"
HEADER = f"""\
# {SCHEMA}
# The policies of each endpoint. Written by 'flask guard lock', compared by 'flask guard check'.
"""
NOTHING = "nothing"
"""The line of an endpoint without any policy."""
FOREIGN, SWITCHED_OFF = "theirs", "switched_off"
"""The names of lines that describe no policy of this package."""
_LINE = re.compile(r"([^\s()\[\]#]+)\((.*)\)")
_OPTION = re.compile(r"([A-Za-z_]\w*)=")


@dataclass(frozen=True, slots=True)
class Line:
    """A policy of an endpoint.

    :ivar options: the options that are not the defaults.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = (f"{name}={_json(self.options[name])}" for name in sorted(self.options))
        return f"{self.name}({', '.join(options)})"


@dataclass(frozen=True, slots=True)
class Lock:
    """The content of a lock file.

    :ivar defaults: the default options of the policies in the file, by name.
    :ivar app: the lines about the app as a whole.
    :ivar blocks: the policies by endpoint.
    """

    defaults: Mapping[str, Mapping[str, Any]]
    app: tuple[Line, ...]
    blocks: Mapping[str, tuple[Line, ...]]

    def options(self, line: Line) -> dict[str, Any]:
        """Return all options of a policy."""
        return {**self.defaults.get(line.name, {}), **line.options}


def make_lock(inventory: Inventory) -> Lock:
    maker = _Maker(inventory)
    blocks = {name: maker.lines(entry) for name, entry in named(inventory)}
    app = [_foreign(each) for each in inventory.foreign]
    if inventory.has_guard and not inventory.state.config[ENABLED]:
        app.append(Line(SWITCHED_OFF))
    return Lock(maker.defaults, _sorted(app), blocks)


def named(inventory: Inventory) -> Iterator[tuple[str, Entry]]:
    """Yield the entries with their names in a lock: method and path, and the endpoint if several share both."""
    several = Counter(each.where for each in inventory.entries)
    for entry in inventory.entries:
        yield f"{entry.where} as {entry.endpoint}" if several[entry.where] > 1 else entry.where, entry


class _Maker:
    """Makes the lines of each plan once: many endpoints have the same policies."""

    def __init__(self, inventory: Inventory) -> None:
        self._state = inventory.state
        self._everywhere = inventory.foreign
        self._known: dict[int, Line] = {}
        self.defaults: dict[str, dict[str, Any]] = {}

    def lines(self, entry: Entry) -> tuple[Line, ...]:
        others = [each for each in entry.foreign if each not in self._everywhere]
        return _sorted([*self._policies(entry.plan), *map(_foreign, others)])

    def _policies(self, plan: Plan | None) -> Iterator[Line]:
        for placed in plan or ():
            policy = placed.policy
            if id(policy) not in self._known:
                defaults = self.defaults.setdefault(policy.name, type(policy).default_options())
                options = policy.plain_options_in(self._state).items()
                self._known[id(policy)] = Line(
                    policy.name, {name: value for name, value in options if value != defaults.get(name)}
                )
            yield self._known[id(policy)]


def _foreign(foreign: Foreign) -> Line:
    facts = {"by": foreign.by, "purpose": foreign.purpose, "detail": foreign.detail}
    return Line(FOREIGN, {name: value for name, value in facts.items() if value})


def _sorted(lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=str))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# Text -----------------------------------------------------------------------------------------------------------------


def as_text(lock: Lock) -> str:
    parts = [HEADER]
    parts.append(_block(DEFAULTS, [Line(name, options) for name, options in lock.defaults.items()]))
    parts.append(_block(APP, lock.app))
    parts += [_block(name, lock.blocks[name]) for name in sorted(lock.blocks, key=_by_path)]
    return "\n".join(parts)


def _by_path(name: str) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    return path, method


def _block(name: str, lines: Iterable[Line]) -> str:
    texts = sorted(map(str, lines)) or [NOTHING]
    return "".join(f"{each}\n" for each in (f"[{_json(name)[1:-1]}]", *texts))


def parse(text: str) -> Lock:
    """Return the lock in the text of a file.

    :raises ConfigError: if the text is not a lock.
    """
    if not text.startswith(f"# {SCHEMA}\n"):
        raise ConfigError(
            f"the first line of a lock file must be '# {SCHEMA}': write the file again with 'flask guard lock'"
        )
    blocks: dict[str, list[Line]] = {}
    lines: list[Line] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("[") and line.endswith("]"):
            lines = blocks.setdefault(_name(line, number), [])
        elif line and line != NOTHING and not line.startswith("#"):
            lines.append(_parsed(line, number))
    defaults = {line.name: line.options for line in blocks.pop(DEFAULTS, ())}
    app = blocks.pop(APP, [])
    return Lock(defaults, tuple(app), {name: tuple(lines) for name, lines in blocks.items()})


def _name(line: str, number: int) -> str:
    try:
        name: str = json.loads(f'"{line[1:-1]}"')
        return name
    except ValueError:
        raise _malformed(line, number) from None


def _parsed(line: str, number: int) -> Line:
    """Return the policy in a line: ``limit(by="api_key", rates=["10/minute"])``."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise _malformed(line, number)
    options: dict[str, Any] = {}
    rest, end = match[2], 0
    while end < len(rest):
        option = _OPTION.match(rest, end)
        if option is None:
            raise _malformed(line, number)
        try:
            options[option[1]], end = json.JSONDecoder().raw_decode(rest, option.end())
        except ValueError:
            raise _malformed(line, number) from None
        end += 2  # the comma and the blank behind it
    return Line(match[1], options)


def _malformed(line: str, number: int) -> ConfigError:
    return ConfigError(
        f"line {number} of the lock file is malformed: {printable(line, 80)!r}. Write the file again: flask guard lock"
    )


def describe(lock: Lock) -> dict[str, Any]:
    """Return a lock as the document ``flask_guard.lock/1``: ``app`` and ``endpoints``, each with a list of policies."""

    def shown(lines: Iterable[Line]) -> list[dict[str, Any]]:
        return [{"name": line.name, "options": lock.options(line)} for line in lines]

    endpoints = {name: shown(lock.blocks[name]) for name in sorted(lock.blocks, key=_by_path)}
    return {"schema": SCHEMA, "app": shown(lock.app), "endpoints": endpoints}
