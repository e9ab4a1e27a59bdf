"""flask_guard: keys, limits, CORS, security headers and request logs, on exactly the endpoints that want them.

>>> from flask import Flask
>>> from flask_guard import Guard, limit, log_timing, secure_headers
>>> app = Flask(__name__)
>>> guard = Guard(app, policies=[log_timing, secure_headers])
>>> @app.get("/orders")
... @limit("10/minute")
... def orders():
...     return []
>>> app.test_client().get("/orders").headers["X-Content-Type-Options"]
'nosniff'
"""

from __future__ import annotations

from .applying import Composition, Exemption, compose, exempt, protect
from .errors import ConfigError, GuardError, NotGuarded
from .guard import Guard
from .jwt import JWT
from .keys import ApiKey
from .middleware import Middleware, middleware
from .plan import Place, Placed, Plan
from .policies.api_key import RequireApiKey, current_api_key, require_api_key
from .policies.auth import RequireAuth, current_principal, require_auth
from .policies.auth_schemes import Principal
from .policies.cors import Cors, cors
from .policies.limit import Limit, limit
from .policies.log_timing import LogTiming, current_request_id, log_timing
from .policies.secure_headers import SecureHeaders, secure_headers
from .policy import DenyingPolicy, Phase, Policy, Step
from .problems import Denied, InsufficientScope, InvalidRequest, LimitExceeded, StoreUnavailable, Unauthenticated
from .run import Run
from .signals import (
    key_created,
    key_leaked,
    key_revoked,
    key_rotated,
    key_used,
    request_denied,
    request_would_be_denied,
)

__all__ = [  # noqa: RUF022
    "ApiKey",
    "Composition",
    "ConfigError",
    "Cors",
    "Denied",
    "DenyingPolicy",
    "Exemption",
    "Guard",
    "GuardError",
    "InsufficientScope",
    "InvalidRequest",
    "JWT",
    "Limit",
    "LimitExceeded",
    "LogTiming",
    "Middleware",
    "NotGuarded",
    "Phase",
    "Place",
    "Placed",
    "Plan",
    "Policy",
    "Principal",
    "RequireApiKey",
    "RequireAuth",
    "Run",
    "SecureHeaders",
    "Step",
    "StoreUnavailable",
    "Unauthenticated",
    "compose",
    "cors",
    "current_api_key",
    "current_principal",
    "current_request_id",
    "exempt",
    "key_created",
    "key_leaked",
    "key_revoked",
    "key_rotated",
    "key_used",
    "limit",
    "log_timing",
    "middleware",
    "protect",
    "request_denied",
    "request_would_be_denied",
    "require_api_key",
    "require_auth",
    "secure_headers",
]
