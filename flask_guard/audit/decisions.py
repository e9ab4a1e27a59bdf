"""The decision about a rehearsed request: the policy, hook, decorator or view that made it, and the remedy."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from ..core.tracing import StepTrace
from ..support.text import printable
from .decorators import site_of_code
from .masking import query_values, without
from .matching import Match
from .rehearsal import Asked, Passage, Rehearsed
from .wording import short_site, shown

By: TypeAlias = Literal["policy", "hook", "decorator", "view", "routing", "Flask", "left out", "unknown"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about one request.

    :ivar by: the sort of its maker.
    :ivar name: the policy, hook, decorator or endpoint that decided.
    :ivar site: the ``file:line`` of the maker.
    :ivar why: the reason, in a sentence.
    :ivar fix: sentences on what to send or change, so that the request is let through.
    """

    by: By
    name: str
    why: str
    site: str | None = None
    fix: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        return {"by": self.by, "name": self.name, "site": self.site, "why": self.why, "fix": list(self.fix)}


def decide(match: Match, seen: Rehearsed) -> Decision:
    for hook, passage in seen.hooks:
        if passage.answered:
            why = f"The before_request hook {hook.name} {_ended(passage.status, passage.error, seen.asked)}."
            fix = (*_fix_for(passage.error, hook.name), f"Read the hook at {short_site(hook.site)}.")
            return Decision("hook", hook.name, why, hook.site, fix)
    for step in seen.steps:
        if step.verdict in ("denied", "answered", "failed"):
            return _by_policy(step, match, seen.asked)
    if seen.left_out:
        why = "Every policy lets the request through. The view and its decorators did not run."
        return Decision("left out", match.rule.endpoint if match.rule else "", why)
    if seen.view is not None and seen.endpoint is not None:
        return _by_view(seen, seen.view, seen.endpoint)
    return _by_routing(match, seen)


def _ended(status: int | None, error: BaseException | None, asked: Asked) -> str:
    if error is not None:
        return f"raised {_named(error, asked)}, which is a {status}"
    return f"answered {status}"


def _named(error: BaseException, asked: Asked) -> str:
    """Return the type of an exception and its text. The text may repeat the body of the request, which is not shown."""
    text = without(query_values(asked.path), printable(str(error), 200).strip())
    if text and asked.data:
        text = "with a text that may repeat the body"
    return f"{type(error).__name__}{f' ({text})' if text else ''}"


def _by_policy(step: StepTrace, match: Match, asked: Asked) -> Decision:
    names = [placed.policy.name for placed in step.placed]
    denied_by = step.denial.policy if step.denial is not None else names[0]
    placed = step.placed[names.index(denied_by) if denied_by in names else 0]
    label, site = shown(placed.policy), placed.site
    fix = [f"Read the policy at {short_site(site)}."]
    if step.failure is not None:
        why = f"{label} {_ended(step.answered or 500, step.failure, asked)}."
    elif step.denial is not None:
        detail = printable(str(step.denial.description), 500)
        why = f"{label} denied the request: {detail} [{step.denial.reason}]"
        remedy = placed.policy.remedy(step.denial)
        fix = [remedy] if remedy else fix
    else:
        why, fix = f"{label} answered {step.answered} in place of the view.", []
    if match.outcome in ("no rule", "wrong method"):
        why = f"{why} {match.text} The policies around the path act first, so that a denial hides which paths exist."
        fix += [f"Did you mean {rule}?" for rule in match.suggestions]
    return Decision("policy", placed.policy.name, why, site, tuple(fix))


def _by_view(seen: Rehearsed, passage: Passage, endpoint: str) -> Decision:
    entered = [layer for layer in seen.layers if layer.code in seen.entered]
    last = entered[-1] if entered else None
    if last is not None and last.foreign is not None and last is not seen.layers[-1]:
        by, site, detail = last.foreign.by, last.foreign.site, last.foreign.detail
        ended = _ended(passage.status, passage.error, seen.asked)
        name = f"{by} ({detail})" if site is None else by
        why = f"The decorator {name} {ended}: the view did not run."
        return Decision("decorator", by, why, site, _fix_for(passage.error, by))
    site = _raised_at(passage.error) or site_of_code(seen.layers[-1].code if seen.layers else None)
    why = f"Every policy let the request through, and the view {_ended(passage.status, passage.error, seen.asked)}."
    fix = () if passage.status is not None and passage.status < 400 else _fix_for(passage.error, "", passage.status)
    return Decision("view", endpoint, why, site, fix)


def _raised_at(error: BaseException | None) -> str | None:
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


def _by_routing(match: Match, seen: Rehearsed) -> Decision:
    if seen.error is not None and match.outcome != "redirect":
        site = _raised_at(seen.error)
        return Decision(
            "unknown", "", f"The app failed: {_named(seen.error, seen.asked)}.", site, _fix_for(seen.error, "")
        )
    fix: tuple[str, ...] = ()
    if match.outcome == "no rule":
        fix = tuple(f"Did you mean {rule}?" for rule in match.suggestions)
    elif match.outcome == "wrong method":
        fix = (f"Send {' or '.join(match.methods)}, or add the method to a rule of the path: methods=[…].",)
    elif match.outcome == "redirect":
        fix = ("Request that URL. Clients fail here if they follow no redirects, or drop the body.",)
    elif match.outcome == "refused":
        fix = ("Send a Host that TRUSTED_HOSTS allows.",)
    by: By = "Flask" if match.outcome == "automatic" else "routing"
    return Decision(by, "", match.text, None, fix)


# Remedies of errors that other packages and Flask raise ---------------------------------------------------------------

_BY_ERROR: Mapping[str, str] = MappingProxyType(
    {
        "UnsupportedMediaType": "Send the body as JSON, with 'Content-Type: application/json'.",
        "CSRFError": "Send the CSRF token of the session, in the field csrf_token or the header X-CSRFToken.",
        "RateLimitExceeded": "Wait until the limit of Flask-Limiter is reset.",
        "NoAuthorizationError": "Send 'Authorization: Bearer TOKEN' with a token of Flask-JWT-Extended.",
        "InvalidHeaderError": "Send 'Authorization: Bearer TOKEN'.",
        "ExpiredSignatureError": "Send a token that has not expired.",
        "InvalidSignatureError": "Send a token that is signed with the app's JWT_SECRET_KEY.",
        "BadRequestKeyError": "Send the form field or query parameter that the view reads.",
        "RequestEntityTooLarge": "Send a shorter body, or raise MAX_CONTENT_LENGTH.",
        "SecurityError": "Send a Host that TRUSTED_HOSTS allows.",
        "NotGuarded": "Change the line that the message names.",
    }
)
_BY_PACKAGE: Mapping[str, str] = MappingProxyType(
    {
        "Flask-Login": "Send the session cookie of a user who has logged in.",
        "Flask-HTTPAuth": "Send the credentials that the WWW-Authenticate field of the answer asks for.",
        "Flask-JWT-Extended": "Send 'Authorization: Bearer TOKEN'.",
    }
)
_BY_STATUS: Mapping[int, str] = MappingProxyType(
    {
        400: "The view found the request malformed: check its body and parameters.",
        401: "The view asks for credentials itself: read its code.",
        403: "The view denies the request itself: read its code.",
        404: "The view found nothing at this path: check the ids in the path.",
        415: "Send the Content-Type that the view reads, such as application/json.",
        422: "The view found the values invalid.",
        429: "The view limits requests itself.",
    }
)


def _fix_for(error: BaseException | None, package: str, status: int | None = None) -> tuple[str, ...]:
    known = next((_BY_ERROR[each.__name__] for each in type(error).__mro__ if each.__name__ in _BY_ERROR), None)
    found = known or _BY_PACKAGE.get(package) or _BY_STATUS.get(status or 0)
    return (found,) if found else ()


def detail_of(seen: Rehearsed) -> str:
    """Return the detail of a problem document (RFC 9457), or an empty string.

    A view that ran may have put the body of the request into the detail, which is then left out.
    """
    if seen.asked.data and seen.view is not None:
        return ""
    try:
        document = json.loads(seen.problem)
        return str(without(query_values(seen.asked.path), printable(str(document.get("detail") or ""), 500)))
    except (ValueError, AttributeError):
        return ""
