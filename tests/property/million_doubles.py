"""Doubles in canonical form against the rfc8785 package: `python -m tests.property.million_doubles [COUNT]`.

Half of them are random bit patterns, half lie where spellings change: around
the exponents, whole numbers, short decimals, subnormals. A sample of it runs
with the tests.
"""

import math
import random
import sys
from collections.abc import Iterator

import rfc8785
from tests.property.strategies import double, spelled_beyond_2_53

from attestlog._internal.core.canonical import encode, encode_reference
from attestlog.errors import MalformedJSONError


def doubles(count: int, seed: int) -> Iterator[float]:
    """`count` finite doubles; the same ones for the same seed."""
    chance = random.Random(seed)
    makers = (
        lambda: double(chance.getrandbits(64)),
        lambda: chance.random() * 10.0 ** chance.randint(-10, 25),
        lambda: double(chance.getrandbits(64)),
        lambda: float(chance.randint(-(10 ** chance.randint(1, 24)), 10**20)),
        lambda: double(chance.getrandbits(64)),
        lambda: chance.randint(1, 9999) / 10.0 ** chance.randint(0, 12),
        lambda: double(chance.getrandbits(64)),
        lambda: double(chance.getrandbits(chance.randint(1, 52))),
    )
    made = 0
    while made < count:
        number = makers[made % len(makers)]()
        if math.isfinite(number):
            made += 1
            yield number


def disagreement(number: float) -> str | None:
    """What is wrong with the spelling of `number`; None where nothing is."""
    want = rfc8785.dumps(number)
    if encode_reference(number) != want:
        return f"{number!r}: reference gives {encode_reference(number)!r}, want {want!r}"
    try:
        found = encode(number)
    except MalformedJSONError:
        return None if spelled_beyond_2_53(number) else f"{number!r} is refused, want {want!r}"
    if found != want or spelled_beyond_2_53(number):
        return f"{number!r}: encode gives {found!r}, want {want!r}"
    return None


def main(count: int) -> int:
    """Prints each disagreement; the number of them is the exit status, 100 at most."""
    wrong = [
        text for text in map(disagreement, doubles(count, random.SystemRandom().getrandbits(64))) if text
    ]
    print("\n".join([*wrong[:20], f"{count} doubles, {len(wrong)} disagreements"]))
    return min(len(wrong), 100)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
