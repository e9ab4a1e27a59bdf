"""Applying several policies at once, and taking kinds of policy away."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..errors import ConfigError
from ..typing import Flask, TargetT
from .marks import calling_site
from .policy import Applicable, Policy

if TYPE_CHECKING:
    from .app_state import AppState


@dataclass(frozen=True, slots=True)
class Exemption(Applicable):
    """Removes kinds of policy, inherited from outer scopes, where it is applied."""

    policies: tuple[Policy, ...]
    is_policy: ClassVar[bool] = False

    def __call__(self, target: TargetT) -> TargetT:
        return self.apply(target, calling_site())

    def removes(self, policy: Policy) -> bool:
        """Return whether `policy` is of an exempted kind."""
        return any(policy.key == each.key for each in self.policies)

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return "exempt"

    @property
    def key(self) -> Hashable:
        """Return what tells one exemption from another."""
        return (self.name, *(policy.key for policy in self.policies))

    def check_app(self, state: AppState) -> None:
        """Work with any configuration."""

    def check_target(self, target: object) -> None:
        """Raise ConfigError for an app: what is outermost has nothing to be exempt from."""
        if isinstance(target, Flask):
            raise ConfigError("exempt() goes on a view, a View class or a blueprint; on an app, leave the policy out")

    def conflict_with(self, other: Policy | Exemption) -> str:
        """Return why it cannot share a target with `other`, or an empty string."""
        if isinstance(other, Policy) and self.removes(other):
            return f"one target both applies and exempts {other.name}. Nearest wins, so the exemption is not needed"
        return ""

    def parts(self) -> tuple[Policy | Exemption, ...]:
        return (self,)

    def __repr__(self) -> str:
        return f"exempt({', '.join(policy.name for policy in self.policies)})"


@dataclass(frozen=True, slots=True)
class Composition(Applicable):
    """Several policies under one name."""

    policies: tuple[Policy, ...]

    def __call__(self, target: TargetT) -> TargetT:
        return self.apply(target, calling_site())

    def parts(self) -> tuple[Policy | Exemption, ...]:
        return self.policies


def exempt(*kinds: Policy | Composition) -> Exemption:
    """Return a decorator that removes the given kinds of policy from a view, a class-based view or a blueprint.

    The policies stand for their kind, whatever their options: ``@exempt(cors)``. An exemption that is written above
    ``@app.route``, where it cannot be seen to hold, has no effect: the view stays guarded.

    :raises TypeError: if nothing is named.
    """
    if kinds:
        return Exemption(flatten(kinds))
    raise TypeError("exempt() needs the policies to exempt from, such as exempt(limit)")


def compose(*policies: Policy | Composition) -> Composition:
    """Return the policies as one, to name and reuse: ``public_api = compose(cors(...), limit("100/minute"))``."""
    if policies:
        return Composition(flatten(policies))
    raise TypeError("compose() needs policies to make one out of")


def protect(target: TargetT, *policies: Policy | Composition) -> TargetT:
    """Apply several policies to a view, a View class, a blueprint or an app, and return it (for a view, its shim).

    :raises ConfigError: if a policy cannot be applied to the target, or conflicts with one that it has.
    """
    if policies:
        return Composition(flatten(policies)).apply(target, calling_site())
    raise TypeError("protect() needs policies: protect(blueprint, cors(...), limit('100/minute'))")


def flatten(policies: Iterable[Policy | Composition]) -> tuple[Policy, ...]:
    """Return the policies with compositions taken apart."""
    flat: list[Policy] = []
    for policy in policies:
        if isinstance(policy, Composition):
            flat.extend(policy.policies)
        elif isinstance(policy, Policy):
            flat.append(policy)
        else:
            raise TypeError(f"expected a policy such as cors or limit('10/minute'), not {policy!r}")
    return tuple(flat)
