"""Somebody who holds an entry key that was rotated away or revoked, and can change the files of the log."""

from __future__ import annotations

from tests.attacks.kit import (
    DETECTED,
    NOT_GUARANTEED,
    PREVENTED,
    RETIRED_KEY,
    Ground,
    Left,
    Story,
    attempt,
    entries_of,
)
from tests.support.histories import ALL_KEYS, rebuild
from tests.support.logs import admission, draft, revocation, rotation

from attestlog._internal.log import Log
from attestlog._internal.verifying import judge_log
from attestlog.testing import ManualClock, MemorySigner

OLD, NEW, OWN = ALL_KEYS[:3]


def rotated() -> Story:
    """The story; then (8) a rotation, and an entry by the new key."""
    made = Story()
    made.rotate(NEW)
    made.append(draft(9), batched=False)
    return made


def signed_by_old(made: Story, number: int) -> list[bytes]:
    """The lines, of which one is signed by the old key instead."""
    entries = entries_of(made)
    entries[number]["signing_key_id"] = OLD.public.key_id
    return rebuild(made, entries)


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.signing_key")
def goes_on_signing(ground: Ground) -> Left:
    """An entry after the rotation, signed by the old key."""
    made = rotated()
    made.append(draft(10), batched=False)
    return Left(made.files(signed_by_old(made, 10)))


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.chain")
def exchanges_an_entry_from_before(ground: Ground) -> Left:
    """One that the old key signed rightly, in place of the true one of that number."""
    made, other = rotated(), Story(other=True)
    made.lines[5] = other.lines[5]
    return Left(made.files())


@attempt(RETIRED_KEY, DETECTED, "FORKED memory.root", "VERIFIED")
def rotates_to_a_key_of_their_own(ground: Ground) -> Left:
    """Another history from before the rotation, with another rotation: for a reader who remembers."""
    true, state = rotated(), ground.folder / "state"
    judge_log(ground.lay_out(true.files()), state_dir=state)
    made = Story()
    made.rotate(OWN)
    made.append(draft(9), batched=False)
    return Left(made.files(), options={"state_dir": state})


@attempt(RETIRED_KEY, DETECTED, "FORKED trust.mismatch")
def rotates_to_a_key_of_their_own_for_who_trusts_the_later_key(ground: Ground) -> Left:
    """The same, for a reader who knows the key that is in force now."""
    made = Story()
    made.rotate(OWN)
    return Left(made.files(), trust=[NEW.public.key_id])


@attempt(RETIRED_KEY, NOT_GUARANTEED, "VERIFIED trust.rotation")
def rotates_to_a_key_of_their_own_for_who_knows_the_first_key(ground: Ground) -> Left:
    """The same, for a reader who knows the first key only. The checkpoint key was stolen with it."""
    made = Story()
    made.rotate(OWN)
    return Left(made.files(), trust=[OLD.public.key_id])


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.signing_key")
def rotates_once_more_with_the_old_key(ground: Ground) -> Left:
    """A rotation to a key of their own after the true one, signed by the old key."""
    made = rotated()
    made.append_unjudged(rotation(made.origin, OLD, OWN, 10))
    return Left(made.files(signed_by_old(made, 10)))


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.change")
def comes_back(ground: Ground) -> Left:
    """An admission of the old key, which was in force before."""
    made = rotated()
    made.append_unjudged(admission(made, OLD))
    return Left(made.files())


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.change")
def takes_a_consent_to_another_log(ground: Ground) -> Left:
    """A key's consent to sign one log, in the admission to another log of the same origin."""
    made, other = Story(), Story(other=True)
    made.append_unjudged(admission(made, OWN, genesis_hash=other.rules.genesis_hash))
    return Left(made.files())


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.change")
def takes_a_consent_to_another_place(ground: Ground) -> Left:
    """A key's consent to a rotation as one entry, in a rotation as another."""
    made = Story()
    made.append_unjudged(rotation(made.origin, OLD, NEW, 12))
    return Left(made.files())


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.signing_key")
def admits_a_second_key_before_the_theft_is_known(ground: Ground) -> Left:
    """A stolen key brings in another one; the revocation of the first reaches the second."""
    made = Story()
    made.append(admission(made, NEW))
    made.key = NEW  # stolen from here on
    made.append(admission(made, OWN, "thief"))
    made.key = OLD
    made.append(revocation(NEW, 8))
    made.key = OWN
    made.append(draft(11), batched=False)
    return Left(made.files())


@attempt(RETIRED_KEY, DETECTED, "UNKNOWN key.revoked")
def signed_before_the_revocation(ground: Ground) -> Left:
    """What a stolen key signed after the last entry that is trusted, before it was revoked."""
    made = Story()
    made.append(admission(made, NEW))
    made.key = NEW
    made.append(draft(9), batched=False)
    made.key = OLD
    made.append(revocation(NEW, 8))
    return Left(made.files())


@attempt(RETIRED_KEY, DETECTED, "TAMPERED entry.chain")
def rewrites_the_rules_before_the_rotation(ground: Ground) -> Left:
    """Another entry of the same number before the rotation, and pointers after it that stay."""
    made = rotated()
    changed = entries_of(made)
    changed[4]["actor_id"] = "agent-9"
    lines = rebuild(made, changed, links=False, names=False, key_of=lambda _: OLD)
    return Left(made.files([*made.lines[:4], lines[4], *made.lines[5:]]))


@attempt(RETIRED_KEY, PREVENTED, "WrongKeyError")
def appends_on_a_host_that_missed_the_rotation(ground: Ground) -> None:
    """Opens the log for writing with the old key."""
    old = MemorySigner()
    with ground.live(signer=old) as log:
        log.append(draft(1))
        log.rotate_key(MemorySigner())
    Log.open(log.path, signer=old, clock=ManualClock()).close()
