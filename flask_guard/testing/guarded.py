"""`assert_guarded`: checks that endpoints have their policies, also endpoints that are added later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from flask import Flask

from ..audit.example_paths import example_url
from ..audit.inventory import take_inventory
from ..audit.rehearsal import Asked
from ..audit.scopes import left_out, target_of
from ..cli.explain import text_of
from ..core.config import ENABLED
from ..core.facts import EVERY_METHOD, Entry, Inventory, written
from ..core.policy import Policy
from ..core.protect import Composition, flatten


def assert_guarded(
    app: Flask,
    where: str,
    *,
    by: Policy | Composition | Iterable[Policy | Composition] = (),
    except_for: str | Iterable[str] = (),
) -> None:
    """Check that every endpoint of `app` that matches `where` is guarded.

    ::

        assert_guarded(app, "POST /api/*", by=[require_api_key, limit], except_for=["POST /api/webhooks/*"])

    :param where: methods and a path, such as ``"POST /api/*"``, ``"PUT,PATCH /orders/<int:id>"`` or ``"/admin/*"`` for
        every method. A ``*`` stands for any text, slashes included.
    :param by: the kinds of policy that must all be in force. By default, any authentication or CSRF protection is
        enough, also by another package. A policy in report mode does not count, and neither does one that lets requests
        without credentials through (``optional=True``), unless it is named with that option.
    :param except_for: endpoints that may be open, written as `where` is.
    :raises AssertionError: if an endpoint is not guarded, with its policies and the exemptions; and if no endpoint
        matches.
    """
    __tracebackhide__ = True
    inventory = take_inventory(app)
    kinds = flatten((by,) if isinstance(by, (Policy, Composition)) else by)
    exceptions = (except_for,) if isinstance(except_for, str) else tuple(except_for)
    entries = [each for each in inventory.entries if _matches(each, where)]
    if not entries:
        raise AssertionError(f"no endpoint of {app.name!r} matches {where!r}")
    checked = [each for each in entries if not any(_matches(each, exception) for exception in exceptions)]
    faults = [(entry, line) for entry in checked for line in _faults(inventory, entry, kinds)]
    if faults:
        lines, first = (line for _, line in faults), faults[0][0]
        raise AssertionError("\n".join((f"not guarded on {app.name!r}:", *lines, "", _explained(inventory, first))))


def _matches(entry: Entry, where: str) -> bool:
    methods, _, path = where.strip().rpartition(" ")
    wanted = {each.strip().upper() for each in methods.split(",")} - {"", "*"}
    return fnmatchcase(entry.path, path) and (not wanted or entry.method in wanted or entry.method == EVERY_METHOD)


def _faults(inventory: Inventory, entry: Entry, kinds: tuple[Policy, ...]) -> Iterator[str]:
    is_on = not inventory.has_guard or inventory.state.config[ENABLED]
    in_force = inventory.enforced(entry) if is_on else []
    missing = [kind.name for kind in kinds if not any(_serves(each, kind) for each in in_force)]
    if not kinds and not (is_on and inventory.serves(entry, "authentication", "csrf")):
        missing = ["authentication"]
    if missing:
        place = f" ({entry.site})" if entry.site else ""
        yield f"  {entry.where}{place} lacks {', '.join(missing)}"
        yield from _circumstances(inventory, entry, is_on)


def _serves(policy: Policy, kind: Policy) -> bool:
    """Return whether a policy is of a kind, with its purposes: an optional key authenticates nobody."""
    return policy.key == kind.key and set(kind.purposes) <= set(policy.purposes)


def _explained(inventory: Inventory, entry: Entry) -> str:
    rules = inventory.app.url_map.iter_rules(entry.endpoint)
    path = next((path for rule in rules if rule.rule == entry.path and (path := example_url(rule))), None)
    if path is None or entry.host:
        return ""
    return text_of(inventory.app, Asked(entry.sent_method, path))


def _circumstances(inventory: Inventory, entry: Entry, is_on: bool) -> Iterator[str]:
    if not inventory.has_guard:
        yield "    the app has no Guard"
        return
    if not is_on:
        yield "    GUARD_ENABLED is False"
    for placed in entry.plan or ():
        mode = " only reports" if placed.policy.mode_in(inventory.state) == "report" else ""
        yield f"    {written(placed.policy)} of {placed.scope} at {placed.site}{mode}"
    for each in left_out(target_of(inventory, entry)):
        by = f" by {each.by.what!r} at {each.by.site}" if each.by is not None else ""
        yield f"    left out: {each.placed.policy.name} at {each.placed.site} is {each.why}{by}"
