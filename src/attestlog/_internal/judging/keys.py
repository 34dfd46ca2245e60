"""Keys over the whole log: which of them answer to the caller's trust, and what a revoked one signed.

Rotations are followed from the genesis entry by `core.rules`; this says what
they amount to. A key vouches for all it signed, for what is before (every
entry is chained to it) and for the keys it was rotated to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from attestlog._internal.core.entry import Entry
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.report import Finding
from attestlog._internal.core.rules import Rules, Term
from attestlog._internal.core.signature import verify_entry_signature
from attestlog._internal.judging.findings import finding
from attestlog.errors import AttestlogError, MissingExtraError


def vouching_keys(
    first: Entry, genesis: Genesis, genesis_hash: str, *, rules: Rules, signed: Collection[str], start: int
) -> set[str]:
    """Ids of the entry keys that vouch for the log.

    The one that signed entry 0, and later ones that signed an entry: with the new key's consent to a
    rotation alone, which can be copied into another history, a key vouches for nothing. `signed`: the
    keys of the entries read; `start`: the first of those, what is before was read earlier.
    """
    later = {
        key_id
        for key_id, term in rules.terms.items()
        if term.start and (key_id in signed or (term.stop is not None and term.stop <= start))
    }
    key = genesis.entry_keys.get(first.signing_key_id)
    if key is None:
        return later
    try:
        verify_entry_signature(key, first.signature_algorithm, first.hsm_signature, genesis_hash)
    except MissingExtraError:
        pass  # that it could not be verified is reported, and is no reason to say it is another's
    except AttestlogError:
        return later  # found, and reported, with the other entries
    return {*later, key.key_id}


def tell_terms(rules: Rules, trusted: Collection[str]) -> Iterator[Finding]:
    """A notice for each trusted key that does not sign all of the log: from where, and up to where."""
    for key_id in trusted:
        term = rules.terms.get(key_id)
        if term is None or (term.start == 0 and term.stop is None):
            continue
        what = f"key {key_id[:16]} signs {_entries(term.start, term.stop)}"
        if term.start:
            what += "; what is before, they are chained to"
        if term.stop is not None:
            what += f"; the log goes on under {', '.join(now[:16] for now in rules.key_ids)}"
        yield finding("trust.rotation", what, term.start, found=key_id)


def find_doubtful(
    rules: Rules,
    size: int,
    *,
    remembered: int,
    cosigned: int,
    trusted: Collection[str],
    signed: Mapping[str, int] | None = None,
) -> Iterator[Finding]:
    """A finding for each key that signed entries which, by a revocation, may be anybody's.

    Those are what it signed after its last trusted entry; and if a rotation or an admission is among them,
    all that the new key signed. `signed`: the last entry that each key signed, where all were read. Not
    doubtful is what was there before as others know: the first `remembered` entries, or time-stamped before,
    and the first `cosigned`, if the revocation is not among these. What a trusted key signed is its word.
    """
    doubtful: dict[str, int] = {}
    for key_id, term in rules.terms.items():
        covered = remembered
        if term.last_trusted is not None and term.revoked_at is not None:
            covered = max(covered, cosigned if cosigned <= term.revoked_at else 0)
            start = max(term.start, term.last_trusted + 1)
            why = f"entry {term.revoked_at} says that their key is not trusted after {term.last_trusted}"
        elif key_id not in trusted and _is_doubtful(doubtful, term):
            start = term.start
            why = f"their key came in by entry {start - 1}, which is not to be trusted"
        else:
            continue
        start, stop = max(start, covered), size if term.stop is None else term.stop
        if signed is not None:
            # By its number: where lines are no entries, the last one stands further on than `size` says.
            last = signed.get(key_id, -1) + 1
            stop = last if term.stop is None else min(stop, last)
        if start < stop:
            doubtful[key_id] = start
            what = f"{_entries(start, stop)} may be anybody's: {why}"
            yield finding("key.revoked", what, start, expected=term.last_trusted, found=key_id)


def _is_doubtful(doubtful: dict[str, int], term: Term) -> bool:
    """Whether the rotation or admission that brought a key in is among what is doubtful."""
    return term.by in doubtful and doubtful[term.by] < term.start


def _entries(start: int, stop: int | None) -> str:
    if stop is None:
        return f"entries from {start} on"
    return f"entry {start}" if stop == start + 1 else f"entries {start} to {stop - 1}"
