"""Application of several policies together, and exemption from kinds of policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..typing import Flask, TargetT
from .marks import Applicable, calling_site
from .path_scopes import check_path
from .policy import Exemption, Policy, apply


@dataclass(frozen=True, slots=True)
class Composition:
    """Several policies under one name."""

    policies: tuple[Policy, ...]

    def __call__(self, target: TargetT) -> TargetT:
        return apply(self.policies, target, calling_site())


def exempt(*kinds: Policy | Composition) -> Exemption:
    """Return a decorator that removes the given kinds of policy from a view, a class-based view or a blueprint.

    The policies stand for their kind, whatever their options: ``@exempt(cors)``. An exemption that is written above
    ``@app.route`` has no effect: the view stays guarded.

    :raises TypeError: if no policy is given, or something else, as by ``@exempt`` without brackets.
    """
    wrong = [repr(each) for each in kinds if not isinstance(each, (Policy, Composition))]
    if wrong or not kinds:
        given = wrong[0] if wrong else "nothing"
        raise TypeError(f"exempt needs the policies to exempt from, such as @exempt(limit), not {given}")
    return Exemption(flatten(kinds))


def compose(*policies: Policy | Composition) -> Composition:
    """Return the policies as one, to name and reuse: ``public_api = compose(cors(...), limit("100/minute"))``."""
    if policies:
        return Composition(flatten(policies))
    raise TypeError("compose() needs policies: compose(cors(...), limit('100/minute'))")


def protect(target: TargetT, *policies: Applicable | Composition, under: str | None = None) -> TargetT:
    """Apply several policies to a view, a View class, a blueprint or an app, and return it (for a view, its shim).

    :param under: a path of an app, such as ``"/admin"`` or ``"/tenants/<tenant>/admin"``. The policies hold for every
        endpoint below the path, also of other packages, and for unknown paths there. Policies of a path are nearer than
        the app's, and farther than a blueprint's. Of two paths the longer one is nearer. An :func:`exempt` removes
        kinds of policy below the path.
    :raises ConfigError: if a policy cannot be applied to the target, or conflicts with one that the target has.
    :raises TypeError: if no policy is given, and for `under` with another target than an app.
    """
    if not policies:
        raise TypeError("protect() needs policies: protect(blueprint, cors(...), limit('100/minute'))")
    parts: list[Applicable] = []
    for each in policies:
        parts += [each] if isinstance(each, Applicable) else flatten([each])
    if under is None:
        return apply(parts, target, calling_site())
    if not isinstance(target, Flask):
        raise TypeError(f"protect(under=…) goes with an app, not with {target!r}")
    return apply(parts, target, calling_site(), under=check_path(under))


def flatten(policies: Iterable[object]) -> tuple[Policy, ...]:
    """Return the policies, also the ones inside compositions."""
    flat: list[Policy] = []
    for policy in policies:
        if isinstance(policy, Composition):
            flat.extend(policy.policies)
        elif isinstance(policy, Policy):
            flat.append(policy)
        else:
            raise TypeError(f"expected a policy such as cors or limit('10/minute'), not {policy!r}")
    return tuple(flat)
