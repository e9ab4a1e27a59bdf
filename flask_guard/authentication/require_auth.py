"""`require_auth`: let only callers through whom the app recognises, by a password, a token or a login session.

For everything that is not an API key. Who somebody is, the app's own callables say; a JWT is checked by
:class:`flask_guard.JWT`. Passwords are the callable's business. With argon2-cffi::

    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = PasswordHasher()
    nobodys = hasher.hash("nobody's password")  # so that an unknown name takes as long as a wrong password

    def log_in(username, password):
        user = User.query.filter_by(name=username).first()
        try:
            hasher.verify(user.password_hash if user else nobodys, password)
        except (VerificationError, InvalidHashError):
            return None
        return user

    @app.get("/report")
    @require_auth(basic=log_in, roles="staff")
    def report(): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from werkzeug.local import LocalProxy

from ..core.denials import Denied, InsufficientScope, InvalidRequest, LimitExceeded, Unauthenticated
from ..core.policy import DenyingPolicy, Phase, Scope, Step
from ..core.request_run import Run, Slot, current_run
from ..errors import ConfigError
from ..rate_limits.storage import FailureLimit, failure_limit
from ..support.options import realm as check_realm
from . import schemes as schemes
from .concern import REALM
from .schemes import CheckBasic, CheckBearer, FindSession

if TYPE_CHECKING:
    from ..core.policy import Target
    from ..typing import Mode, TargetT

FAILURES = "require_auth(failures=…)"
PRINCIPAL: Slot[Any] = Slot("require_auth.principal")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireAuth(DenyingPolicy):
    """Lets only callers through whom one of its callables recognises; :data:`current_principal` is what that returned.

    Each callable, plain or ``async``, is called once a request at most, and returns a principal or None. A principal is
    an object or a mapping with an ``id`` and, if wanted, ``roles``, such as the app's user or a :class:`Principal`;
    or just an id. A user whose ``is_authenticated`` is False is nobody. Anything else that is returned, such as True,
    is a TypeError, and an exception is a 500: the door stays shut. An HTTPException, as ``abort(redirect(…))`` raises,
    is the answer.

    Credentials of a scheme that is offered decide, whatever the session says; others count as none. Nothing presented
    is a 401 with one challenge for each scheme; bad credentials, malformed ones included, a 401 whose Bearer challenge
    says ``invalid_token`` if it was a token (RFC 6750, section 3.1). A principal who lacks a role gets a 403. It has no
    challenge, as other credentials are not asked for, and names no role: who may do what is not the client's to know.
    A session has no scheme of HTTP's; where it is the only way in, the 401 carries the challenge ``Session``, which no
    browser acts on: redirect to the login page in ``@app.errorhandler(401)``.

    It may stand beside ``require_api_key``: both must be passed. Let that read ``in_="x-api-key"`` then.

    :param basic: ``(username, password) -> principal | None``; RFC 7617, in UTF-8. Over https only.
    :param bearer: ``(token) -> principal | None``, such as a :class:`flask_guard.JWT`.
    :param session: ``() -> principal | None`` or ``(request) -> principal | None``, for an app with a login session.
        Look after CSRF in such an app: a browser sends cookies along with what other sites make it request.
    :param roles: roles that the principal must have, all of them.
    :param any_role: roles of which they must have at least one.
    :param optional: let callers through who present nothing; bad credentials are refused all the same.
    :param realm: the realm of the challenges; by default ``GUARD_REALM``.
    :param failures: how many bad credentials one address may present, as a rate; None for no limit. Good ones from the
        same address are let through all the same, so passwords want a ``@limit`` of their own, which also counts these.
    :param mode: ``"report"`` to log what would be denied instead of denying it.
    :raises ConfigError: for a malformed role, realm or rate, for a callable that takes other arguments, and, where it
        is applied, if there is no callable at all.
    """

    kind: ClassVar[str] = "require_auth"
    phase: ClassVar[Phase] = Phase.AUTHENTICATE

    basic: CheckBasic | None = None
    bearer: CheckBearer | None = None
    session: FindSession | None = None
    roles: tuple[str, ...] = ()
    any_role: tuple[str, ...] = ()
    optional: bool = False
    realm: str | None = None
    failures: str | None = "20/minute"

    if TYPE_CHECKING:

        @overload
        def __call__(self, target: TargetT, /) -> TargetT: ...
        @overload
        def __call__(
            self,
            *,
            basic: CheckBasic | None = ...,
            bearer: CheckBearer | None = ...,
            session: FindSession | None = ...,
            roles: str | Iterable[str] = ...,
            any_role: str | Iterable[str] = ...,
            optional: bool = ...,
            realm: str | None = ...,
            failures: str | None = ...,
            mode: Mode | None = ...,
        ) -> RequireAuth: ...
        def __call__(self, *args: Any, **options: Any) -> Any: ...

    def __post_init__(self) -> None:
        if self.basic is not None:
            schemes.check_callable(self.basic, "require_auth(basic=…)", "username", "password")
        if self.bearer is not None:
            schemes.check_callable(self.bearer, "require_auth(bearer=…)", "token")
        if self.session is not None:
            schemes.check_session(self.session)
        object.__setattr__(self, "roles", schemes.role_names(self.roles, "require_auth(roles=…)"))
        object.__setattr__(self, "any_role", schemes.role_names(self.any_role, "require_auth(any_role=…)"))
        if self.realm is not None:
            check_realm(self.realm, "require_auth(realm=…)")
        if self.failures is not None:
            failure_limit(self.failures, FAILURES)
        if not isinstance(self.optional, bool):
            raise ConfigError(f"require_auth(optional=…) must be True or False, not {self.optional!r}")
        DenyingPolicy.__post_init__(self)

    def check_target(self, target: object) -> None:
        if self.basic is None and self.bearer is None and self.session is None:
            raise ConfigError(
                "require_auth needs a callable that says who somebody is: basic=…, bearer=… or session=…,"
                " as in @require_auth(bearer=JWT(keys))"
            )

    def applies(self, target: Target, scope: Scope) -> bool:
        return not target.automatic

    def compile(self, target: Target) -> Step:
        app = target.app
        checks: dict[str, schemes.Check] = {}
        if self.basic is not None:
            checks["basic"] = schemes.basic(self.basic, app)
        if self.bearer is not None:
            checks["bearer"] = schemes.bearer(self.bearer, app)
        logged_in = schemes.session(self.session, app) if self.session is not None else None
        refusals = _Refusals(tuple(checks), target.state.config[REALM] if self.realm is None else self.realm)
        failures = FailureLimit(target.state, self.failures, "auth") if self.failures else None
        may_pass = _roles_check(frozenset(self.roles), frozenset(self.any_role))
        optional = self.optional

        def enter(run: Run) -> None:
            scheme, _, presented = run.request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            scheme = scheme.lower()
            check = checks.get(scheme)
            if check is not None:
                principal = _checked(check, scheme, presented.strip(" "), refusals)
                if principal is None:
                    if failures is not None and (wait := failures.wait_after_failure(run)):
                        raise refusals.too_many(wait)
                    raise refusals.bad(scheme)
            else:
                principal = logged_in(run.request) if logged_in is not None else None
                if principal is None:
                    if optional:
                        return
                    raise refusals.nothing_presented()
            PRINCIPAL.put(run, principal)
            name = schemes.id_of(principal)
            if name is not None:
                run.identities["principal"] = name
            if not may_pass(principal):
                raise refusals.lacks_role()

        return Step(enter)


def _checked(check: schemes.Check, scheme: str, presented: str, refusals: _Refusals) -> object | None:
    if not presented and scheme == "bearer":
        raise refusals.malformed()
    return check(presented) if len(presented) <= schemes.LONGEST else None


def _roles_check(every: frozenset[str], any_of: frozenset[str]) -> Callable[[object], bool]:
    if not every and not any_of:
        return lambda _principal: True

    def may_pass(principal: object) -> bool:
        roles = schemes.roles_of(principal)
        return every <= roles and not (any_of and any_of.isdisjoint(roles))

    return may_pass


class _Refusals:
    """Words the refusals of one compiled policy."""

    def __init__(self, offered: tuple[str, ...], realm: str) -> None:
        self._plain = schemes.challenges(offered, realm)
        self._bad_token = schemes.challenges(
            offered, realm, ', error="invalid_token", error_description="The token is not valid."'
        )
        self._no_token = schemes.challenges(offered, realm, ', error="invalid_request"')

    def nothing_presented(self) -> Denied:
        """Return the denial of a request without credentials of a scheme that is offered."""
        return Unauthenticated(
            "Authentication is required.", policy=RequireAuth.kind, reason="missing", headers=self._plain
        )

    def bad(self, scheme: str) -> Denied:
        """Return the denial of credentials that are not valid."""
        headers = self._bad_token if scheme == "bearer" else self._plain
        detail = "The token is not valid." if scheme == "bearer" else "The credentials are not valid."
        return Unauthenticated(detail, policy=RequireAuth.kind, reason="invalid", headers=headers)

    def malformed(self) -> Denied:
        """Return the denial of a bearer scheme without a token (RFC 6750, section 3.1, ``invalid_request``)."""
        return InvalidRequest(
            "There is no token after Bearer.", policy=RequireAuth.kind, reason="malformed", headers=self._no_token
        )

    def lacks_role(self) -> Denied:
        """Return the denial of a principal without the role. ``insufficient_scope`` is a word for scopes, not roles."""
        return InsufficientScope("You may not do this.", policy=RequireAuth.kind, reason="missing_role")

    def too_many(self, wait: int) -> Denied:
        """Return the denial of bad credentials from an address that has presented too many."""
        return LimitExceeded(
            f"Too many bad credentials from this address. Try again in {wait} s.",
            policy=RequireAuth.kind,
            reason="failures",
            headers=[("Retry-After", str(wait))],
        )


def _current() -> Any:
    run = current_run()
    if run is None:
        raise RuntimeError("current_principal is only there while a guarded request is handled")
    return PRINCIPAL.get(run)


current_principal: Any = LocalProxy(_current)
"""What the callable of ``require_auth`` returned for this request; false where nobody was recognised."""

require_auth: RequireAuth = RequireAuth()
