"""Vectors of rotation and revocation: small logs, and who may sign after them."""

from __future__ import annotations

from tests.support.shapes import BOOT, ORIGIN, PrivateKey, ed25519_key, entry_id, p256_key, planned, prepared
from tests.vectors.makers.cases import Case, case, flipped, seal, sign
from tests.vectors.makers.of_logs import tiny_genesis

from attestlog._internal.core.batch import Head, Prepared, prepare
from attestlog._internal.core.genesis import draft_genesis
from attestlog._internal.core.rotation import Rotation, format_rotation, rotation_message
from attestlog._internal.core.signature import public_key

OLD, NEW, NEXT = p256_key(), p256_key("second"), ed25519_key("third")
Change = tuple[PrivateKey, str, Case]
"""Who signs it, its action type, its payload."""


def key_id(key: PrivateKey) -> str:
    return public_key(key.public_key()).key_id


def rotation_to(
    new: PrivateKey,
    number: int,
    old: PrivateKey = OLD,
    origin: str = ORIGIN,
    signer: PrivateKey | None = None,
) -> Change:
    message = rotation_message(origin, key_id(old), key_id(new), number)
    payload = format_rotation(Rotation(public_key(new.public_key()), sign(signer or new, message)))
    return old, "attestlog.rotate_signing_key", payload


def revocation_of(key: PrivateKey, last_trusted: int, signer: PrivateKey, reason: str = "stolen") -> Change:
    payload = {"key_id": key_id(key), "last_trusted_sequence_number": last_trusted, "reason": reason}
    return signer, "attestlog.revoke_signing_key", payload


def log_of(*changes: Change) -> list[str]:
    """Genesis, one entry, and the changes from entry 2 on, each signed alone."""
    made = tiny_genesis()
    items: list[tuple[PrivateKey, Prepared]] = [
        (OLD, prepare(draft_genesis(made), made.policy, entry_id=entry_id(0), environment={})),
        (OLD, prepared(BOOT, 1)),
    ]
    for number, (signer, action_type, payload) in enumerate(changes, 2):
        shape = {"event_type": "CHANGE", "action_type": action_type, "actor_id": "operator"}
        items.append((signer, prepared({**shape, "action_payload": payload}, number)))
    head, lines = Head(), []
    for key, item in items:
        plan = planned([item], key, head)
        lines += seal(plan, key)
        head = plan.head
    return lines


def rotation() -> list[Case]:
    good = rotation_to(NEW, 2)
    second = rotation_to(NEXT, 3, NEW)
    payload = good[2]

    def other(**members: object) -> Change:
        return good[0], good[1], {**payload, **members}

    terms = {key_id(OLD): [0, 3, None], key_id(NEW): [3, None, None]}
    cases = [
        case("a rotation", origin=ORIGIN, lines=log_of(good), key_ids=[key_id(NEW)], terms=terms),
        case(
            "two rotations, and the first key revoked", origin=ORIGIN,
            lines=log_of(good, second, revocation_of(OLD, 1, NEXT)), key_ids=[key_id(NEXT)],
            terms={key_id(OLD): [0, 3, 1], key_id(NEW): [3, 4, None], key_id(NEXT): [4, None, None]},
        ),
    ]  # fmt: skip
    bad: dict[str, list[Change]] = {
        "for another entry": [rotation_to(NEW, 3)],
        "for another log": [rotation_to(NEW, 2, origin="example.com/other")],
        "with another key's consent": [rotation_to(NEW, 2, signer=NEXT)],
        "a bit of the consent changed": [other(signature=flipped(payload["signature"]))],
        "consent in upper case": [other(signature=payload["signature"].upper())],
        "another key id": [other(key_id=key_id(NEXT))],
        "another algorithm": [other(algorithm="Ed25519")],
        "member unknown": [other(reason="old age")],
        "to a key that was in force": [good, rotation_to(OLD, 3, NEW)],
        "by a retired key": [good, rotation_to(NEXT, 3, OLD)],
        "the only key revoked": [good, revocation_of(NEW, 2, NEW)],
        "a stranger revoked": [good, revocation_of(NEXT, 2, NEW)],
        "trusted beyond the revocation": [good, revocation_of(OLD, 3, NEW)],
        "revoked for no reason": [good, revocation_of(OLD, 1, NEW, reason="")],
        "trusted for longer than before": [good, revocation_of(OLD, 1, NEW), revocation_of(OLD, 2, NEW)],
    }
    return cases + [
        case(name, "verification.rule_change", origin=ORIGIN, lines=log_of(*changes))
        for name, changes in bad.items()
    ]
