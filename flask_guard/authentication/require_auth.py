"""`require_auth`: let only callers through that the app recognises by a password, a token or a login session.

For everything that is not an API key. The app's own callables decide; a JWT is checked by :class:`flask_guard.JWT`.
Hashing passwords is up to the callable. With argon2-cffi::

    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = PasswordHasher()
    of_nobody = hasher.hash("a password of nobody")  # so that an unknown name takes as long as a wrong password

    def log_in(username, password):
        user = User.query.filter_by(name=username).first()
        try:
            hasher.verify(user.password_hash if user else of_nobody, password)
        except (VerificationError, InvalidHashError):
            return None
        return user

    @app.get("/report")
    @require_auth(basic=log_in, roles="staff")
    def report(): ...
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, overload

from ..core.app_state import AppState
from ..core.denials import Denied
from ..core.described import Documented
from ..core.policy import Credential, DenyingPolicy, Phase, Policy, Scope, Step, Target
from ..core.request_run import Current, Run, Slot
from ..errors import ConfigError
from ..rate_limits.failures import failure_limit
from ..rate_limits.rates import lower_is_stronger
from ..support import options as check
from ..support.options import option
from ..support.orders import (
    false_is_stronger,
    fewer_is_stronger_unless_empty,
    irrelevant,
    more_is_stronger,
    none_strongest,
    unordered,
)
from ..typing import Mode, Purpose, TargetT
from . import schemes
from .concern import REALM
from .jwt import token_order
from .principal import id_of, role_names, roles_check
from .private_responses import private_responses
from .refusals import Refusals
from .schemes import CheckBasic, CheckBearer, FindSession, Verify

PRINCIPAL: Slot[Any] = Slot("require_auth.principal")
HINTS = {
    "role": "roles='admin'",
    "scheme": "basic=…, bearer=… or session=…",
    "header": "require_api_key(in_='header:NAME')",
    "verify_password": "basic=…",
    "verify_token": "bearer=…",
    "get_user_roles": "the roles on the principal that the callable returns",
}
"""Our words for the options of Flask-HTTPAuth."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RequireAuth(DenyingPolicy):
    """Let only callers through that one of the callables recognises. :data:`current_principal` is the principal.

    Each callable, plain or ``async``, runs at most once a request, and returns a principal or None. A principal is an
    object or a mapping with an ``id`` and, if wanted, ``roles``: the app's user, a :class:`Principal`, or just an id. A
    user with ``is_authenticated = False`` counts as None. Any other value, such as True, is a TypeError. An exception
    is a 500, and the view does not run. An HTTPException, such as that of ``abort(redirect(…))``, is the answer.

    Credentials of an offered scheme decide, even beside a session. Credentials of another scheme count as none. A
    request without credentials gets a 401 with one challenge for each scheme. Invalid or malformed credentials get a
    401; for a token, the Bearer challenge says ``invalid_token`` (RFC 6750, section 3.1). A principal without a role
    gets a 403, which names no role and has no challenge. A session has no HTTP scheme: alone, its 401 carries the
    challenge ``Session``, which browsers ignore. Redirect to the login page in ``@app.errorhandler(401)``.

    Beside ``require_api_key``, callers must pass both. Write ``require_api_key(in_="x-api-key")`` then.
    """

    kind: ClassVar[str] = Refusals.KIND
    phase: ClassVar[Phase] = Phase.AUTHENTICATE

    basic: CheckBasic | None = option(
        None, check.optional(schemes.callable_with("username", "password")), none_strongest(unordered)
    )
    bearer: CheckBearer | None = option(None, check.optional(schemes.callable_with("token")), token_order)
    session: FindSession | None = option(None, check.optional(schemes.finds_session), none_strongest(unordered))
    roles: tuple[str, ...] = option((), role_names, more_is_stronger)
    any_role: tuple[str, ...] = option((), role_names, fewer_is_stronger_unless_empty)
    optional: bool = option(False, check.flag, false_is_stronger)
    realm: str | None = option(None, check.optional(check.realm), irrelevant)
    failures: str | None = option("20/minute", check.optional(failure_limit), lower_is_stronger)

    @overload
    def __call__(self, target: TargetT, /) -> TargetT: ...
    @overload
    def __call__(
        self,
        *,
        basic: CheckBasic | None = None,
        bearer: CheckBearer | None = None,
        session: FindSession | None = None,
        roles: str | Iterable[str] = (),
        any_role: str | Iterable[str] = (),
        optional: bool = False,
        realm: str | None = None,
        failures: str | None = "20/minute",
        mode: Mode | None = None,
    ) -> RequireAuth: ...
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the policy to a target, or return a copy with other options.

        :param basic: ``(username, password) -> principal | None`` for the Basic scheme (RFC 7617). Use https.
        :param bearer: ``(token) -> principal | None`` for the Bearer scheme, such as a :class:`flask_guard.JWT`.
        :param session: ``() -> principal | None`` or ``(request) -> principal | None``, for an app with a login
            session. Such an app needs protection from CSRF: browsers send cookies with the requests of other sites.
        :param roles: roles that the principal must have, all of them.
        :param any_role: roles of which the principal must have at least one.
        :param optional: let callers without credentials through. Invalid credentials are still refused.
        :param realm: the realm of the challenges; by default ``GUARD_REALM``.
        :param failures: the rate of invalid credentials that is allowed; None for no limit. Beyond it the answer is a
            429. Tokens are counted by address, and a valid token still passes. Passwords are counted by user name and
            address, and five times as many by address. Beyond the rate no password passes, not even the right one.
        :param mode: ``"report"`` to log denials instead of denying.
        :raises ConfigError: for a malformed role, realm or rate, for a callable that takes other arguments, and, where
            the policy is applied, for no callable at all.
        """
        return Policy.__call__(self, *args, **options)

    def hint(self, option: str) -> str:
        return f"; write {HINTS[option]}" if option in HINTS else ""

    def check_target(self, target: object) -> None:
        if self.basic is None and self.bearer is None and self.session is None:
            raise ConfigError(
                "require_auth needs a callable that recognises callers: basic=…, bearer=… or session=…,"
                " as in @require_auth(bearer=JWT(keys))"
            )

    @property
    def credential_places(self) -> tuple[Credential, ...]:
        return tuple(("header", name.lower()) for name in self._fields())

    def _fields(self) -> tuple[str, ...]:
        """Return the header fields that the policy reads. A session is assumed to be in a cookie."""
        reads_authorization = self.basic is not None or self.bearer is not None
        return (*(["Authorization"] * reads_authorization), *(["Cookie"] * (self.session is not None)))

    def documented(self, state: AppState) -> Documented:
        cookie = state.app.config["SESSION_COOKIE_NAME"]
        ways = {
            "basic": (self.basic, {"type": "http", "scheme": "basic"}),
            "bearer": (self.bearer, {"type": "http", "scheme": "bearer"}),
            "session": (self.session, {"type": "apiKey", "in": "cookie", "name": cookie}),
        }
        statuses = (401, *([403] if self.roles or self.any_role else []), *([429] if self.failures else []))
        given = {name: scheme for name, (check, scheme) in ways.items() if check is not None}
        return Documented(given, self.optional, statuses)

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        return () if self.optional else ("authentication",)

    def applies(self, target: Target, scope: Scope) -> bool:
        return not target.automatic

    def remedy(self, denial: Denied) -> str:
        roles = " and ".join((*self.roles, *([f"one of {', '.join(self.any_role)}"] if self.any_role else ())))
        ways = {
            "'Authorization: Basic …' with a user name and password": self.basic,
            "'Authorization: Bearer TOKEN'": self.bearer,
            "the cookie of a session that has logged in": self.session,
        }
        send = f"Send {' or '.join(way for way, offered in ways.items() if offered is not None)}"
        return {
            "missing_role": f"Act as a principal with the role {roles}.",
            "malformed": f"{send}. The token after Bearer is missing.",
            "failures": "Wait, or forget the failures: flask guard limits reset --key ADDRESS.",
            "missing": f"{send}{f', of a principal with the role {roles}' if roles else ''}.",
        }.get(denial.reason, f"{send}. The credentials that were sent are invalid.")

    def compile_key(self, target: Target, place: Scope) -> Hashable | None:
        return ()

    def compile(self, target: Target) -> Step:
        state = target.state
        offered = tuple(name for name in ("basic", "bearer") if getattr(self, name) is not None)
        refusals = Refusals(offered, state.config[REALM] if self.realm is None else self.realm)
        verifiers: dict[str, Verify] = {}
        if self.basic is not None:
            verifiers["basic"] = schemes.basic(self.basic, state, self.failures, refusals)
        if self.bearer is not None:
            verifiers["bearer"] = schemes.bearer(self.bearer, state, self.failures, refusals)
        logged_in = schemes.session(self.session, state) if self.session is not None else None
        may_pass = roles_check(self.roles, self.any_role)
        optional = self.optional

        def enter(run: Run) -> None:
            scheme, _, presented = run.request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            verify = verifiers.get(scheme.lower())
            if verify is not None:
                principal: object | None = verify(run, presented.strip(" "))
            else:
                principal = logged_in(run.request) if logged_in is not None else None
            if principal is None:
                if optional:
                    return
                raise refusals.nothing_presented(scheme)
            PRINCIPAL.put(run, principal)
            run.identities["principal"] = id_of(principal) or ""
            if not may_pass(principal):
                raise refusals.lacks_role()

        return Step(enter, private_responses(self._fields(), PRINCIPAL))


current_principal: Any = Current("current_principal", RequireAuth.kind, PRINCIPAL)
"""The principal of this request, as the callable of ``require_auth`` returned it; false where there is none."""

require_auth: RequireAuth = RequireAuth()
