"""Random draws as SQL: a number in [0, 1) that hangs on the seed, a stream and the key of a row, and on nothing else.

The twin of `augmentation.streams` for work on tables too long for Python. A draw does not depend on the order of rows,
on threads or on what else is drawn, so a new stream (a kind of noise, a facility) leaves all others as they were. Keys
come from MD5, which never changes; a stream is mixed in by one multiplication, which is far quicker than a second MD5.
Only whole numbers are mixed, so machines agree to the last bit. Knows nothing of what is drawn.
"""

from __future__ import annotations

from augmentation import streams

MASK = "18446744073709551615::UHUGEINT"  # 64 bits


def key(*columns: str) -> str:
    """SQL for the key of a row: 128 bits that hang on the values of these SQL expressions. Null counts as empty."""
    # The separator is a character that no table holds, so that ('a', 'bc') is not ('ab', 'c').
    parts = ", ".join(f"coalesce(CAST({column} AS VARCHAR), '')" for column in columns)
    return f"md5_number(concat_ws(chr(31), {parts}))"


def bits(row_key: str, seed: int, stream: str) -> str:
    """SQL for 64 random bits of a row in a stream. `row_key` is SQL for a key, best a column that holds one."""
    low, high = (streams.key(seed, stream, half) for half in ("low", "high"))
    # The product of the two halves of the key, each under its own secret, folded: no bit of the key is left untouched.
    product = f"(xor({row_key} & {MASK}, {low}::UHUGEINT) * xor({row_key} >> 64, {high}::UHUGEINT))"
    return f"xor({product} >> 64, {product} & {MASK})"


def uniform(row_key: str, seed: int, stream: str) -> str:
    """SQL for a number in [0, 1)."""
    return f"(CAST({bits(row_key, seed, stream)} >> 11 AS DOUBLE) / 9007199254740992)"


def normal(word: str) -> str:
    """SQL for a number that is nearly standard normal and never beyond 3.5: the sum of four 16-bit uniforms.

    `word` is SQL for 64 random bits (`bits`), best a column that holds them, since it is written out four times.
    """
    parts = " + ".join(f"CAST(({word} >> {shift}) & 65535 AS DOUBLE)" for shift in (0, 16, 32, 48))
    # Four uniforms on 0..65535 have the mean 131070 and the standard deviation 37837.2.
    return f"(({parts} - 131070) / 37837.2)"


def identifier(seed: int, stream: str, *columns: str) -> str:
    """SQL for an id in the form of a UUID that gives nothing away about the values it is made of."""
    return (
        f"CAST(CAST(md5(concat_ws(chr(31), '{streams.key(seed, stream)}', {', '.join(columns)})) AS UUID) AS VARCHAR)"
    )


def uniform_of(seed: int, stream: str, *values: object) -> float:
    """A draw in Python, for the few that are made once per facility or table."""
    return (streams.key(seed, stream, *values) >> 11) / 2**53
