"""Policies and places in a few words, for tables and pages. Secrets among the options of a policy are masked."""

from __future__ import annotations

import dataclasses
import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.app_state import AppState
from ..core.facts import Foreign
from ..core.policy import Placed, Policy
from ..function_policy import Middleware
from ..support.orders import plain
from ..support.text import printable

UNNAMED = frozenset(("rates", "preset", "amount"))
"""Options that are shown first, without their name."""
LONGEST_OPTION = 60
"""The length of a shown option, at most."""


def shown(policy: Policy) -> str:
    """Return a policy with the options that are not the defaults, such as ``limit(10/minute, by=api_key)``."""
    return _shown(policy, options_of(policy))


def _shown(policy: Policy, set_options: dict[str, Any]) -> str:
    given = sorted(set_options.items(), key=lambda option: option[0] not in UNNAMED)
    options = ", ".join(
        _brief(value) if name in UNNAMED else name if value is True else f"{name}={_brief(value)}"
        for name, value in given
    )
    return printable(f"{policy.name}({options})" if options else policy.name, 1000)


def options_of(policy: Policy) -> dict[str, Any]:
    """Return the options that are not the defaults, as values that JSON can hold. Secrets are masked."""
    if isinstance(policy, Middleware):
        return {name: plain(value, name) for name, value in policy.options}
    options, fields = policy.plain_options(), dataclasses.fields(policy)
    changed = {each.name for each in fields if plain(getattr(policy, each.name)) != plain(each.default)} - {"mode"}
    return {name: value for name, value in options.items() if name in changed}


def _brief(value: Any) -> str:
    if isinstance(value, list):
        text = ", ".join(map(_brief, value))
        text = text if len(value) == 1 else f"[{text}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{name}: {_brief(each)}" for name, each in value.items()) + "}"
    else:
        text = str(value).removeprefix("callable ")
    return text if len(text) <= LONGEST_OPTION else text[: LONGEST_OPTION - 1] + "…"


def describe_placed(placed: Placed, state: AppState) -> dict[str, Any]:
    """Return a policy in force, with its scope and line, as values that JSON can hold."""
    policy = placed.policy
    options = options_of(policy)
    return {
        "name": policy.name,
        "text": _shown(policy, options),
        "options": options,
        "mode": policy.mode_in(state),
        "phase": policy.phase.name,
        "scope": placed.scope,
        "site": placed.site,
    }


def shown_foreign(foreign: Foreign) -> str:
    """Return a fact in a few words, such as ``Flask-Login: login_required``."""
    if foreign.purpose == "unknown" and foreign.site is not None:
        return f"{foreign.by}?"
    return f"{foreign.by}: {foreign.detail}"


def short_site(site: str | None) -> str:
    """Return a ``file:line`` relative to the current folder, or to the folder of installed packages."""
    return site_shortener()(site)


def site_shortener() -> Callable[[str | None], str]:
    """Return :func:`short_site` for many sites."""
    installed = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    bases = [f"{base.rstrip(os.sep)}{os.sep}" for base in (str(Path.cwd()), *installed)]

    def shorten(site: str | None) -> str:
        site = site or ""
        base = next((base for base in bases if site.startswith(base)), "")
        return site[len(base) :]

    return shorten
