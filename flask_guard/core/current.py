"""Proxies of the findings of policies about the current request, such as its API key."""

from __future__ import annotations

from typing import Any

from werkzeug.local import LocalProxy

from .request_run import Run, Slot, current_run


class Current(LocalProxy[Any]):
    """Stands for the value of a slot in the current request; false without one.

    :param name: the name of the variable that holds this, for messages.
    :param kind: the kind of policy that fills the slot.
    """

    __slots__ = ("_kind", "_name")

    def __init__(self, name: str, kind: str, slot: Slot[Any]) -> None:
        def current() -> Any:
            run = current_run()
            if run is None:
                raise RuntimeError(f"{name} is only available while a guarded request is handled")
            return slot.get(run)

        super().__init__(current)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_kind", kind)

    def __getattr__(self, attribute: str) -> Any:
        value = self._get_current_object()
        if value is None:
            raise AttributeError(f"{self._name}.{attribute}: {self._name} is None, because {self._why_none()}")
        return getattr(value, attribute)

    def _why_none(self) -> str:
        run: Run | None = current_run()
        policies = getattr(run.plan, "policies", ()) if run is not None else ()
        if not any(each.policy.kind == self._kind for each in policies):
            return f"no {self._kind} guards this request. Put @{self._kind} on the view, its blueprint or the app"
        return f"the request presented nothing, or {self._kind} has not run yet. Write 'if {self._name}:' first"
