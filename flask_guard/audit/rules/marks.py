"""General rules about policies and exemptions in the code that have no effect, or not the expected one."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.facts import AuditRule, Checks, Finding, Inventory, Purpose, shown
from ...core.marks import Mark, scaffold_marks
from ...core.path_scopes import path_scopes
from ...core.policy import Exemption
from ..scopes import left_out, marks_on_functions, scopes_of, target_of

MISPLACED_EXEMPT = AuditRule(
    "FG021",
    "warning",
    "An exemption without effect",
    "The exemption is above the route, or on a function that is not a view. The endpoint stays guarded.",
    "Write @exempt(…) below @app.route.",
)
USELESS_EXEMPT = AuditRule(
    "FG022",
    "info",
    "An exemption from a missing policy",
    "No outer scope has the policy. The exemption opens the endpoint as soon as the policy is added.",
    "Remove the policy from exempt(…).",
    ("ASVS 8.1.1",),
)
UNREACHED = AuditRule(
    "FG023",
    "error",
    "A policy that reaches no endpoint",
    "The policy protects no request, although the code says otherwise.",
    "Put the policy on the view, blueprint or path that is served, or remove it.",
    ("ASVS 8.2.1", "API5:2023"),
)
NO_GUARD = AuditRule(
    "FG027",
    "error",
    "Policies on an app without a Guard",
    "Their views answer with a 500, because the policies do not run.",
    "Call Guard(app), or guard.init_app(app), where the app is made.",
    ("ASVS 16.5.3",),
)
REPORT_MODE = AuditRule(
    "FG024",
    "warning",
    "A policy only reports, and has no date",
    "Requests that the policy would deny are let through. A trial without an end leaves the endpoint open.",
    "Enforce the policy, or set the end of the trial: allow('FG024', because='…', until='2027-01-31').",
    ("ASVS 8.3.1", "API8:2023"),
    dated=True,
)
TWICE = AuditRule(
    "FG025",
    "warning",
    "Two packages do the same thing",
    "Requests are counted twice, or a header gets two values, of which one wins by the order of the packages.",
    "Keep one of them.",
    ("API8:2023",),
)
_EXCLUSIVE: frozenset[Purpose] = frozenset(("cors", "csrf", "headers", "limit"))
"""Purposes for which one package is enough. Two packages may both authenticate, by different credentials."""


def _misplaced_exempts(inventory: Inventory) -> Iterator[Finding]:
    placed = {mark.written for _, scopes in scopes_of(inventory) for scope in scopes for mark in scope.marks}
    for mark in marks_on_functions(inventory.app):
        if isinstance(mark.what, Exemption) and mark.written not in placed:
            yield MISPLACED_EXEMPT.about(repr(mark.what), f"{mark.what!r} has no effect here", str(mark.site))


def _useless_exempts(inventory: Inventory) -> Iterator[Finding]:
    taken = {
        (each.by, each.placed.policy.key)
        for entry in (inventory.entries if inventory.has_guard else ())
        for each in left_out(target_of(inventory, entry))
        if each.why == "exempt"
    }
    seen = {mark: scope for _, scopes in scopes_of(inventory) for scope in scopes for mark in scope.marks}
    for mark, scope in seen.items() if inventory.has_guard else ():
        # a subclass, as the inspector's, may name policies that the app lacks
        for policy in mark.what.policies if type(mark.what) is Exemption else ():
            if (mark, policy.key) not in taken:
                message = f"exempt({policy.name}) removes nothing: no outer scope has {policy.name}"
                yield USELESS_EXEMPT.about(str(scope), message, str(mark.site))


def _unreached(inventory: Inventory) -> Iterator[Finding]:
    app = inventory.app
    if not inventory.has_guard:
        return
    marks = list(marks_on_functions(app))
    marks += [mark for scope in path_scopes(app) for mark in scope.marks]
    marks += [mark for blueprint in app.blueprints.values() for mark in scaffold_marks(blueprint)]
    plans = [entry.plan for entry in inventory.entries if entry.plan is not None]
    reached = {mark.written for plan in plans for mark in plan.covers if isinstance(mark, Mark)}
    for mark in dict.fromkeys(marks):
        if mark.what.is_guarding and mark.written not in reached:
            where = f"{mark.what.name} in {mark.site.namespace.get('__name__')}"
            yield UNREACHED.about(where, f"{mark.what.name} is written here, and reaches no endpoint", str(mark.site))


def _no_guard(inventory: Inventory) -> Iterator[Finding]:
    if inventory.has_guard:
        return
    found: dict[Mark, str] = {}
    for _, scopes in scopes_of(inventory):
        for scope in scopes:
            found.update({mark: str(scope) for mark in scope.marks if mark.what.is_guarding})
    for mark, where in found.items():
        yield NO_GUARD.about(where, f"{mark.what.name} is on an app that has no Guard", str(mark.site))


def _reporting(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications():
        policy = each.placed.policy
        if policy.mode_in(inventory.state) == "report":
            yield REPORT_MODE.on(each, f"{policy.name} only reports on {shown(each.entries)}: its mode is 'report'")


def _twice(inventory: Inventory) -> Iterator[Finding]:
    for each in inventory.applications():
        policy = each.placed.policy
        purposes = _EXCLUSIVE.intersection(policy.purposes)
        theirs = (*inventory.foreign, *(foreign for entry in each.entries for foreign in entry.foreign))
        for by, purpose in sorted({(foreign.by, foreign.purpose) for foreign in theirs if foreign.purpose in purposes}):
            yield TWICE.on(each, f"{policy.name} and {by} both serve the purpose {purpose!r} on {shown(each.entries)}")


CHECKS: Checks = (
    (MISPLACED_EXEMPT, _misplaced_exempts),
    (USELESS_EXEMPT, _useless_exempts),
    (UNREACHED, _unreached),
    (REPORT_MODE, _reporting),
    (TWICE, _twice),
    (NO_GUARD, _no_guard),
)
