"""The arithmetic of a token bucket; ``redis`` does the same in Lua."""

from __future__ import annotations

from contracts.errors import ConfigurationError

__all__ = ["check_bucket", "take"]


def check_bucket(bucket: str, rate: float, burst: float) -> None:
    """Raises ConfigurationError for a bucket that could never give a token."""
    if not rate > 0 or not burst >= 1:
        raise ConfigurationError(
            f"the bucket {bucket} needs a rate above 0 and a burst of at least 1, not {rate} and {burst}"
        )


def take(tokens: float, elapsed: float, *, rate: float, burst: float) -> tuple[float, float]:
    """Fill for ``elapsed`` seconds, then take one token.

    Returns what is left, and the seconds to wait until there is a token (0.0: one was taken).
    """
    tokens = min(burst, tokens + max(0.0, elapsed) * rate)
    if tokens >= 1:
        return tokens - 1, 0.0
    return tokens, (1 - tokens) / rate
