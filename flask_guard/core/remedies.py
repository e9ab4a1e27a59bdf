"""What would have let a refused request through, for the log of an app in debug mode. Never a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..support.text import printable
from .denials import Denied
from .request_run import Run

LONGEST = 200
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_SCOPE = re.compile(r'scope="([^"]*)"')


def remedy_of(run: Run, denial: Denied) -> str:
    """Return the scope that is lacking, the fields that carry credentials, or when a limit opens.

    Where a denial's header fields say none of this, return the sentence that the client gets.
    """
    fields = [(name.lower(), value) for name, value in denial.headers]
    challenges = [value for name, value in fields if name == "www-authenticate"]
    scope = next((found[1] for each in challenges if (found := _SCOPE.search(each))), None)
    wait = next((value for name, value in fields if name == "retry-after"), None)
    if scope is not None:
        remedy = f"needs scope {scope}"
    elif challenges:
        remedy = f"send {' or '.join(_credentials(run, denial.policy, challenges))}"
    elif wait is not None:
        remedy = f"try again in {wait} s"
    else:
        remedy = str(denial.description or "")
    return printable(remedy, LONGEST)


def _credentials(run: Run, policy: str, challenges: list[str]) -> Iterator[str]:
    placed: tuple[Any, ...] = getattr(run.plan, "policies", ())
    places = [place for each in placed if each.policy.name == policy for place in each.policy.credential_places]
    schemes = [found[0] for each in challenges if (found := _SCHEME.match(each))]
    for where, name in dict.fromkeys(places) or [("header", "authorization")]:
        if where == "query":
            yield f"the query parameter {name}"
        elif name == "authorization":
            yield from (f"Authorization ({scheme})" for scheme in schemes)
        else:
            yield name.title()
