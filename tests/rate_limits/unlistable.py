"""A storage of `limits` that has no call that lists keys, as memcached's has none."""

from __future__ import annotations

from limits.storage import Storage


class Unlistable(Storage):
    """Counts nothing."""

    STORAGE_SCHEME = ["unlistable"]  # noqa: RUF012

    @property
    def base_exceptions(self) -> type[Exception]:
        return OSError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return amount

    def get(self, key: str) -> int:
        return 0

    def get_expiry(self, key: str) -> float:
        return 0

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return None

    def clear(self, key: str) -> None:
        """Do nothing."""
