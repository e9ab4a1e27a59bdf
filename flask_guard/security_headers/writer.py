"""Writing the security headers of one compiled policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..support.header_fields import Pair, append, drop, field_names
from .csp import Csp, insecure, nonce, without_nonce
from .https import say_why_hsts_is_missing
from .presets import NAMES
from .response_nonce import NONCE, nonce_of

if TYPE_CHECKING:
    from ..core.request_run import Leave, Run
    from ..typing import Response

NO_STORE: Pair = (NAMES["cache_control"], "no-store")


@dataclass(frozen=True, slots=True)
class Fields:
    """The header fields of a policy in force.

    :ivar fixed: those that are the same on every response.
    :ivar hsts: the value of ``Strict-Transport-Security``, or None.
    :ivar policies: content security policies, each with the name of its header.
    :ivar removed: the names (lower case) of headers that are taken out.
    :ivar stores_identified: whether answers to callers that have authenticated may be stored.
    """

    fixed: list[Pair]
    hsts: str | None = None
    policies: list[tuple[str, Csp]] = field(default_factory=list)
    removed: frozenset[str] = frozenset()
    stores_identified: bool = True

    @property
    def uses_nonce(self) -> bool:
        return any(policy.uses_nonce for _, policy in self.policies)

    def writer(self) -> Leave:
        """Return the step that writes the fields, the quickest that does what they need."""
        write = self._plain_writer()
        if self.uses_nonce:
            write = self._with_nonce(write)
        return write if self.stores_identified else _keeping_identified(write)

    def pairs(self, *, https: bool) -> list[Pair]:
        """Return the fields of a response without a nonce."""
        policies = [(name, without_nonce(policy if https else insecure(policy))) for name, policy in self.policies]
        hsts = [(NAMES["hsts"], self.hsts)] if https and self.hsts is not None else []
        return [*((name, str(policy)) for name, policy in policies), *hsts, *self.fixed]

    def _plain_writer(self) -> Leave:
        """Return the step that writes them without a nonce. A header that the response has already wins."""
        secure, plain = self.pairs(https=True), self.pairs(https=False)
        removed, promises_https = self.removed, self.hsts is not None
        touched = frozenset(name.lower() for name, _ in secure) | removed

        def write(run: Run, response: Response) -> None:
            headers = response.headers
            pairs = secure
            if run.request.scheme != "https":
                pairs = plain
                if promises_https and "HTTP_X_FORWARDED_PROTO" in run.request.environ:
                    say_why_hsts_is_missing(run)
            present = field_names(headers)
            if not present.isdisjoint(touched):
                if not present.isdisjoint(removed):
                    drop(headers, removed)
                pairs = [pair for pair in pairs if pair[0].lower() not in present]
            append(headers, pairs)

        return write

    def _with_nonce(self, write: Leave) -> Leave:
        """Return the step that writes them with a nonce, where one was asked for."""
        secure = [(name, str(policy).split(nonce)) for name, policy in self.policies]
        plain = [(name, str(insecure(policy)).split(nonce)) for name, policy in self.policies]

        def write_with_nonce(run: Run, response: Response) -> None:
            made = NONCE.get(run)
            if made == "" and response.is_streamed and not response.direct_passthrough:
                made = nonce_of(run)  # the body may ask for it once the headers have been sent
            if made:
                headers, word = response.headers, f"'nonce-{made}'"
                present = field_names(headers)
                split = secure if run.request.scheme == "https" else plain
                pairs = [(name, word.join(parts)) for name, parts in split]
                append(headers, [pair for pair in pairs if pair[0].lower() not in present])
                if "cache-control" in present:
                    drop(headers, ("cache-control",))
                append(headers, (NO_STORE,))
            write(run, response)

        return write_with_nonce


def _keeping_identified(write: Leave) -> Leave:
    """Return `write` for answers that no cache keeps if the caller has authenticated (ASVS 5.0, 14.3.2)."""

    def write_unless_identified(run: Run, response: Response) -> None:
        write(run, response)
        if run.identities and "cache-control" not in field_names(response.headers):
            append(response.headers, (NO_STORE,))

    return write_unless_identified
