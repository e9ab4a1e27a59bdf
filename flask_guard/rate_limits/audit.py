"""Audit rules about limits: endpoints that need a limit, and limits that have no effect."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from ..core.endpoint_traits import may_take_credentials
from ..core.facts import AuditRule, Checks, Entry, Finding, Inventory, shown, written
from ..core.policy import Placed
from .limit import Limit
from .rates import parse_rates
from .storage import Backend

GUESSABLE = AuditRule(
    "FG030",
    "error",
    "A log-in without a strict limit",
    "Attackers can guess passwords, reset codes and tokens, or try stolen ones, at full speed.",
    "Write @limit('5/minute; 50/day') on the view, by address. Up to 30 a minute counts as strict.",
    ("ASVS 6.3.1", "ASVS 2.4.1", "API2:2023", "API4:2023"),
)
SEVERAL_WORKERS = AuditRule(
    "FG031",
    "warning",
    "Limits in memory, and several workers",
    "Each worker counts alone, so a client gets its limit once from each worker.",
    "Set RATELIMIT_STORAGE_URI to 'sqlite:////path/limits.db' (one machine) or 'redis://host:6379/0' (several).",
    ("ASVS 2.4.1", "API4:2023"),
)
IN_MEMORY = AuditRule(
    "FG032",
    "info",
    "Limits in memory",
    "Each process counts alone, and servers usually start several.",
    "Set RATELIMIT_STORAGE_URI to 'sqlite:////path/limits.db' or 'redis://host:6379/0', or run one process.",
    ("ASVS 2.4.1", "API4:2023"),
)
NEVER_REACHED = AuditRule(
    "FG033",
    "info",
    "A shared limit that can never be reached",
    "The limits of its endpoints add up to less, so the shared limit never denies a request.",
    "Lower the shared limit, or remove it.",
    ("ASVS 2.4.1",),
)
LOOSER = AuditRule(
    "FG034",
    "warning",
    "A limit that is looser than another one beside it",
    "The stricter limit always denies first, so the number of the looser limit misleads its readers.",
    "Remove the looser limit, or make the stricter one unshared so that the nearer replaces it.",
    ("ASVS 2.4.1",),
)

STRICT = Fraction(30, 60)
"""Requests a second up to which a limit on guesses is strict."""
_WORKERS = re.compile(r"(?:^|\s)(?:-w|--workers|--processes)[ =]?(\d+)")


def _guessable(inventory: Inventory) -> Iterator[Finding]:
    for entry in inventory.entries:
        if may_take_credentials(entry) and not _is_strict(inventory, entry):
            yield GUESSABLE.at(entry, f"{entry.where} takes credentials, and no strict limit slows guesses down")


def _is_strict(inventory: Inventory, entry: Entry) -> bool:
    """Return whether guesses at an entry are limited. A limit of another package counts, as its rate is unknown."""
    if any(each.purpose == "limit" for each in (*entry.foreign, *inventory.foreign)):
        return True
    limits = [each for each in inventory.enforced(entry) if isinstance(each, Limit)]
    return any(average <= STRICT for each in limits if each.when is None for average, _ in _rates(each))


def _rates(policy: Limit) -> list[tuple[Fraction, int]]:
    """Return the fixed rates of a limit: requests a second on average, and requests in a burst."""
    items = [item for rate in policy.rates if isinstance(rate, str) for item in parse_rates(rate).items]
    return [(Fraction(item.amount, item.get_expiry()), policy.burst or item.amount) for item in items]


# Where limits are counted ---------------------------------------------------------------------------------------------


def _in_memory(inventory: Inventory, workers: str | None) -> Iterator[str]:
    limits = inventory.applications(Limit.kind)
    if limits and inventory.state.service(Backend).enabled and inventory.state.service(Backend).in_process:
        yield f"each process counts limits in its own memory{workers or ''}"


def _several_workers(inventory: Inventory) -> Iterator[Finding]:
    workers = _configured_workers()
    for message in _in_memory(inventory, f", and {workers} starts several") if workers else ():
        yield SEVERAL_WORKERS.about("RATELIMIT_STORAGE_URI", message)


def _only_in_memory(inventory: Inventory) -> Iterator[Finding]:
    for message in _in_memory(inventory, None) if not _configured_workers() else ():
        yield IN_MEMORY.about("RATELIMIT_STORAGE_URI", message)


def _configured_workers() -> str | None:
    """Return the environment variable that makes a server start several workers, if there is one."""
    concurrency = os.environ.get("WEB_CONCURRENCY", "")
    if concurrency.isdigit() and int(concurrency) > 1:
        return "WEB_CONCURRENCY"
    arguments = _WORKERS.search(os.environ.get("GUNICORN_CMD_ARGS", ""))
    return "GUNICORN_CMD_ARGS" if arguments and int(arguments[1]) > 1 else None


# Limits beside each other ---------------------------------------------------------------------------------------------


def _never_reached(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications(Limit.kind):
        policy = each.placed.policy
        if isinstance(policy, Limit) and policy.shared and _can_compare(policy) and len(each.entries) > 1:
            for average, amount in _rates(policy):
                seconds = amount / average
                most = [_at_most(entry, policy, seconds) for entry in each.entries]
                if all(one is not None for one in most) and sum(filter(None, most)) <= amount:
                    message = (
                        f"{written(policy)} can never be reached: the limits of {shown(each.entries)} let through"
                        f" {sum(filter(None, most))} in that time, at most"
                    )
                    yield NEVER_REACHED.on(each, message)


def _at_most(entry: Entry, shared: Limit, seconds: Fraction) -> int | None:
    """Return how much the other limits of an entry let one client through in some time. None if none tells."""
    found = [
        amount * ceil(seconds * average / amount)
        for each in entry.plan or ()
        if isinstance(each.policy, Limit) and each.policy.shared is None and _can_compare(each.policy, shared)
        for average, amount in _rates(each.policy)
    ]
    return min(found, default=None)


def _looser(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications(Limit.kind):
        stricter = [_stricter(each.placed, entry) for entry in each.entries]
        if all(stricter) and stricter[0] is not None:
            here, there = written(each.placed.policy), written(stricter[0])
            yield LOOSER.on(each, f"{here} never denies on {shown(each.entries)}: {there} is stricter")


def _stricter(placed: Placed, entry: Entry) -> Limit | None:
    """Return a limit of an entry that denies every request that another limit would deny, and earlier."""
    policy = placed.policy
    if not isinstance(policy, Limit) or not _can_compare(policy) or not _rates(policy):
        return None
    for each in entry.plan or ():
        other = each.policy
        if isinstance(other, Limit) and other is not policy and _can_compare(other, policy) and not policy.shared:
            rates = _rates(other)
            if all(any(a <= average and b <= amount for a, b in rates) for average, amount in _rates(policy)):
                return other
    return None


def _can_compare(policy: Limit, other: Limit | None = None) -> bool:
    """Return whether it counts every request once, in a time, for the same clients as `other`."""
    plain = policy.cost == 1 and not (policy.when or policy.deduct_when or policy.methods or policy.burst)
    return plain and not any(callable(rate) for rate in policy.rates) and (other is None or policy.by == other.by)


CHECKS: Checks = (
    (GUESSABLE, _guessable),
    (SEVERAL_WORKERS, _several_workers),
    (IN_MEMORY, _only_in_memory),
    (NEVER_REACHED, _never_reached),
    (LOOSER, _looser),
)
