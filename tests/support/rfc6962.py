"""RFC 6962 section 2.1, transcribed as it is written: recursive, slow, and the judge of `core.merkle`.

D is a list of leaf data. Only tests may use it.
"""

from hashlib import sha256


def mth(d: list[bytes]) -> bytes:
    """2.1: the Merkle tree hash."""
    n = len(d)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\x00" + d[0]).digest()
    k = split(n)
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    """2.1.1: the audit path of leaf m."""
    n = len(d)
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: list[bytes]) -> list[bytes]:
    """2.1.2: the consistency proof from the first m leaves."""
    return subproof(m, d, complete=True)


def subproof(m: int, d: list[bytes], *, complete: bool) -> list[bytes]:
    """2.1.2: `complete`: whether the subtree is one whose root the verifier has."""
    n = len(d)
    if m == n:
        return [] if complete else [mth(d)]
    k = split(n)
    if m <= k:
        return [*subproof(m, d[:k], complete=complete), mth(d[k:])]
    return [*subproof(m - k, d[k:], complete=False), mth(d[:k])]


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k
