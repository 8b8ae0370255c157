"""Amounts as people say them: counts, times, sizes, rates."""

from __future__ import annotations


def many(count: int, word: str) -> str:
    """1 record, 2,345 records."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def time(seconds: float) -> str:
    """0.4 s, 12 s, 7 min, 1.5 h, 2.3 days."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def size(count: float) -> str:
    """Bytes: 812 bytes, 4.6 KiB, 120 MiB, 2.3 GiB."""
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1000 or unit == "GiB":
            break
    return f"{count:.1f} {unit}" if count < 10 else f"{count:,.0f} {unit}"


def rate(per_second: float) -> str:
    """1,234/s, 4.5/s."""
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"
