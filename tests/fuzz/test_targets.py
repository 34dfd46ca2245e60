"""The fuzz targets themselves, on the corpus and on a fixed number of its mutants, without atheris."""

from random import Random

import pytest
from tests.fuzz.corpus import seeds
from tests.fuzz.targets import TARGETS

MUTANTS = 1_500
SEEDS = seeds()


def mutant(random: Random) -> bytes:
    """A seed with a few bytes changed, cut, repeated, or joined with another seed's."""
    data = bytearray(random.choice(SEEDS))
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + random.randrange(9)] = b""
            case 2:
                data[at:at] = data[max(0, at - random.randrange(40)) : at]
            case 3:
                data[at:at] = random.choice([b"0", b'"', b"\\", b"\n", b"-", b"e9", b"\xff", b"\x00", b"[{"])
            case _:
                other = random.choice(SEEDS)
                data[at:] = other[random.randrange(len(other) + 1) :]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutants(name: str) -> None:
    assert len(SEEDS) > 200
    random = Random(name)
    for data in SEEDS:
        TARGETS[name](data)
    for _ in range(MUTANTS):
        data = mutant(random)
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error
