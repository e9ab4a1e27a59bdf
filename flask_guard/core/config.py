"""The ``GUARD_*`` keys of an app's configuration, read once into a frozen object."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import ConfigError, did_you_mean
from ..typing import Mode, OnStoreError
from ..wsgi.request_ids import ALPHABET, LONGEST_ID, RequestIds
from .denials import names

if TYPE_CHECKING:
    from flask import Config

CHOICES: dict[str, tuple[str, ...]] = {
    "error_format": ("auto", "problem", "html"),
    "on_store_error": ("local", "allow", "deny"),
    "ratelimit_headers": ("draft", "legacy", "both"),
    "defer_full": ("run", "drop"),
}


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """What the app's ``GUARD_*`` keys say.

    :ivar enabled: ``GUARD_ENABLED``: False switches every policy off, which a warning at start-up says.
    :ivar modes: ``GUARD_MODES``: the mode by kind of policy, such as ``{"limit": "report"}``.
    :ivar api_keys: ``GUARD_API_KEYS``: API keys by id; see :class:`flask_guard.keys.StaticKeys`.
    :ivar cors_origins: ``GUARD_CORS_ORIGINS``: the origins of every `cors` that names none.
    :ivar error_format: ``GUARD_ERROR_FORMAT``: ``"auto"`` (by the Accept header), ``"problem"`` or ``"html"``.
    :ivar on_store_error: ``GUARD_ON_STORE_ERROR``: what limits do that do not say it themselves while their store
        cannot be asked: ``"local"``, ``"allow"`` or ``"deny"``; see :class:`flask_guard.Limit`.
    :ivar ratelimit_headers: ``GUARD_RATELIMIT_HEADERS``: ``"draft"`` (``RateLimit``), ``"legacy"``
        (``X-RateLimit-Limit`` and so on) or ``"both"``.
    :ivar realm: ``GUARD_REALM``: the realm of challenges that name none.
    :ivar request_id_trust: ``GUARD_REQUEST_ID_TRUST``: whose request ids are taken: True for everybody's, False for
        nobody's, or a list of networks; see :class:`flask_guard.wsgi.request_ids.RequestIds`.
    :ivar request_id_length: ``GUARD_REQUEST_ID_LENGTH``: the characters that such an id may have.
    :ivar request_id_alphabet: ``GUARD_REQUEST_ID_ALPHABET``: the characters of which it may be made.
    :ivar defer_workers: ``GUARD_DEFER_WORKERS``: the threads that `defer` uses at most.
    :ivar defer_queue: ``GUARD_DEFER_QUEUE``: the deferred calls that wait for a thread at most.
    :ivar defer_full: ``GUARD_DEFER_FULL``: what becomes of one more: ``"run"`` (at once, in line) or ``"drop"``.
    :ivar defer_drain: ``GUARD_DEFER_DRAIN``: the seconds that deferred calls have to end when the process does.
    """

    enabled: bool = True
    modes: Mapping[str, Mode] = field(default_factory=lambda: MappingProxyType({}))
    api_keys: Mapping[str, Any] | None = field(default=None, repr=False)
    cors_origins: Any = None
    error_format: str = "auto"
    on_store_error: OnStoreError = "local"
    ratelimit_headers: str = "draft"
    realm: str = "api"
    request_id_trust: bool | Collection[str] = True
    request_id_length: int = LONGEST_ID
    request_id_alphabet: str = ALPHABET
    defer_workers: int = 4
    defer_queue: int = 1000
    defer_full: Literal["run", "drop"] = "run"
    defer_drain: float = 5.0


KEYS = {f"GUARD_{name.upper()}": name for name in GuardConfig.__slots__}


def read_config(config: Config, kinds_with_mode: frozenset[str]) -> GuardConfig:
    """Read the ``GUARD_*`` keys of `config`.

    :param kinds_with_mode: the kinds of policy that ``GUARD_MODES`` may name.
    :raises ConfigError: for an unknown key or a value that cannot be meant.
    """
    given = {key: value for key, value in config.items() if key.startswith("GUARD_")}
    for key in given:
        if key not in KEYS:
            raise ConfigError(f"unknown config key {key}{did_you_mean(key, KEYS)}. The known ones: {', '.join(KEYS)}")
    options = {KEYS[key]: value for key, value in given.items()}
    if not isinstance(options.get("enabled", True), bool):
        raise ConfigError(f"GUARD_ENABLED must be True or False, not {options['enabled']!r}")
    for name, choices in CHOICES.items():
        if name in options and options[name] not in choices:
            raise ConfigError(f"GUARD_{name.upper()} must be one of {names(choices)}, not {options[name]!r}")
    check_realm(options.get("realm", "api"), "GUARD_REALM")
    api_keys = options.get("api_keys")
    if api_keys is not None and not isinstance(api_keys, Mapping):
        raise ConfigError("GUARD_API_KEYS must map key ids to a secret, a 'sha256:…' hash or a dict")
    _check_request_ids(options)
    _check_defer(options)
    options["modes"] = _modes(options.get("modes", {}), kinds_with_mode)
    return GuardConfig(**options)


def _check_request_ids(options: Mapping[str, Any]) -> None:
    try:
        RequestIds(
            trust=options.get("request_id_trust", True),
            longest=options.get("request_id_length", LONGEST_ID),
            alphabet=options.get("request_id_alphabet", ALPHABET),
        )
    except ValueError as error:
        raise ConfigError(f"GUARD_REQUEST_ID_… cannot be meant: {error}") from None


def _check_defer(options: Mapping[str, Any]) -> None:
    for name in ("defer_workers", "defer_queue"):
        value = options.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"GUARD_{name.upper()} must be a number of at least 1, not {value!r}")
    seconds = options.get("defer_drain", 0)
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds < float("inf"):
        raise ConfigError(f"GUARD_DEFER_DRAIN must be seconds from 0 up, not {seconds!r}")


def _modes(modes: Any, kinds: frozenset[str]) -> Mapping[str, Mode]:
    if not isinstance(modes, Mapping):
        raise ConfigError("GUARD_MODES must map kinds of policy to a mode, such as {'limit': 'report'}")
    for kind, mode in modes.items():
        if kind not in kinds:
            raise ConfigError(
                f"GUARD_MODES names {kind!r}, which is no kind of policy that can deny{did_you_mean(str(kind), kinds)}."
                f" Those are {names(sorted(kinds))}"
            )
        check_mode(mode, f"GUARD_MODES[{kind!r}]")
    return MappingProxyType(dict(modes))


def check_realm(realm: object, where: str) -> None:
    """Raise ConfigError unless `realm` is text that a challenge can carry."""
    if not isinstance(realm, str):
        raise ConfigError(f"{where} must be a string, not {realm!r}")
    if not realm.isascii() or not realm.isprintable():
        raise ConfigError(f"{where} must be printable ASCII, not {realm!r}")


def check_mode(mode: object, where: str) -> None:
    """Raise ConfigError unless `mode` is a mode."""
    if mode not in get_args(Mode):
        raise ConfigError(f"{where} must be one of {names(get_args(Mode))}, not {mode!r}")
