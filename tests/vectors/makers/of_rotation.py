"""Vectors of rotation, admission and revocation: small logs, and who may sign after them."""

from __future__ import annotations

import functools
from hashlib import sha256

from tests.support.curves import FORGED, SMALL_ORDER, pem_of, respelled, spki_of
from tests.support.shapes import BOOT, ORIGIN, PrivateKey, ed25519_key, entry_id, p256_key, planned, prepared
from tests.vectors.makers.cases import Case, case, flipped, seal, sign
from tests.vectors.makers.of_logs import tiny_genesis

from attestlog._internal.core.batch import Head, Prepared, prepare
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import draft_genesis, parse_genesis
from attestlog._internal.core.rotation import (
    Admission,
    Rotation,
    admission_message,
    format_admission,
    format_rotation,
    rotation_message,
)
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import public_key

OLD, NEW, NEXT, LAST = p256_key(), p256_key("second"), ed25519_key("third"), p256_key("fourth")
WEAK = SMALL_ORDER[0]
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


def admission_of(
    new: PrivateKey,
    signer: PrivateKey = OLD,
    *,
    consent: PrivateKey | None = None,
    genesis_hash: str | None = None,
    origin: str = ORIGIN,
    label: str = "host-2",
) -> Change:
    message = admission_message(origin, genesis_hash or genesis_hash_of(), key_id(new))
    payload = format_admission(Admission(public_key(new.public_key()), sign(consent or new, message), label))
    return signer, "attestlog.admit_signing_key", payload


@functools.cache
def genesis_hash_of() -> str:
    return decode_line(log_of()[0].encode()).entry_hash


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
    head, lines, rules = Head(), list[str](), Rules.of(made)
    for key, item in items:
        plan = planned([item], key, head, pointers=rules.pointers)
        (line,) = seal(plan, key)
        if not lines:
            rules = Rules.of(parse_genesis(decode_line(line.encode())))
        rules, _ = rules.following([line.encode()])
        lines.append(line)
        head = plan.head
    return lines


def high_s(payload: Case) -> str:
    return respelled(bytes.fromhex(payload["signature"])).hex()


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
    bad: dict[str, list[Change]] = _bad_admissions() | {
        "for another entry": [rotation_to(NEW, 3)],
        "for another log": [rotation_to(NEW, 2, origin="example.com/other")],
        "with another key's consent": [rotation_to(NEW, 2, signer=NEXT)],
        "a bit of the consent changed": [other(signature=flipped(payload["signature"]))],
        "consent in upper case": [other(signature=payload["signature"].upper())],
        "consent respelled: n - s": [other(signature=high_s(payload))],
        "to a key of small order": [
            other(
                algorithm="Ed25519",
                key_id=sha256(spki_of(WEAK)).hexdigest(),
                public_key=pem_of(WEAK),
                signature=FORGED,
            )
        ],
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
    return (
        cases
        + _admissions()
        + [
            case(name, "verification.rule_change", origin=ORIGIN, lines=log_of(*changes))
            for name, changes in bad.items()
        ]
    )


def _admissions() -> list[Case]:
    admitted, rotated = admission_of(NEW), rotation_to(NEXT, 3, NEW)

    def judged(
        name: str, in_force: list[PrivateKey], terms: dict[PrivateKey, list[int | None]], *changes: Change
    ) -> Case:
        by_id = {key_id(key): term for key, term in terms.items()}
        return case(
            name, origin=ORIGIN, lines=log_of(*changes), key_ids=sorted(map(key_id, in_force)), terms=by_id
        )

    first: list[int | None] = [0, None, None]
    return [
        judged("an admission", [OLD, NEW], {OLD: first, NEW: [3, None, None]}, admitted),
        judged(
            "an entry by the key that was admitted", [OLD, NEW, NEXT],
            {OLD: first, NEW: [3, None, None], NEXT: [4, None, None]}, admitted, admission_of(NEXT, NEW),
        ),
        judged(
            "of two keys one is rotated", [OLD, NEXT], {OLD: first, NEW: [3, 4, None], NEXT: [4, None, None]},
            admitted, rotated,
        ),
        judged(
            "a revoked key takes those with it that it admitted", [OLD],
            {OLD: first, NEW: [3, 4, 2], NEXT: [4, 4, None]},
            admitted, admission_of(NEXT, NEW), revocation_of(NEW, 2, OLD),
        ),
        judged(
            "and those that these admitted, or were rotated to", [OLD],
            {OLD: first, NEW: [3, 5, 2], NEXT: [4, 5, None], LAST: [5, 5, None]},
            admitted, admission_of(NEXT, NEW), rotation_to(LAST, 4, NEXT), revocation_of(NEW, 2, OLD),
        ),
        judged(
            "but not those that it admitted while it was trusted", [OLD, NEXT],
            {OLD: first, NEW: [3, 4, 3], NEXT: [4, None, None]},
            admitted, admission_of(NEXT, NEW), revocation_of(NEW, 3, OLD),
        ),
        judged(
            "nor the one that signs the revocation", [NEW], {OLD: [0, 3, 1], NEW: [3, None, None]},
            rotation_to(NEW, 2), revocation_of(OLD, 1, NEW),
        ),
        judged(
            "nor those that the signer admitted", [NEW, NEXT],
            {OLD: [0, 3, 1], NEW: [3, None, None], NEXT: [4, None, None]},
            rotation_to(NEW, 2), admission_of(NEXT, NEW), revocation_of(OLD, 1, NEW),
        ),
    ]  # fmt: skip


def _bad_admissions() -> dict[str, list[Change]]:
    admitted = admission_of(NEW)
    payload = admitted[2]

    def other(**members: object) -> Change:
        return admitted[0], admitted[1], {**payload, **members}

    return {
        "admitted again": [admitted, admission_of(NEW)],
        "admission of a key that was retired": [rotation_to(NEW, 2), admission_of(OLD, NEW)],
        "admission by consent to another genesis": [admission_of(NEW, genesis_hash="0" * 64)],
        "admission by consent to another log": [admission_of(NEW, origin="example.com/other")],
        "admission by another key's consent": [admission_of(NEW, consent=NEXT)],
        "admission by consent respelled: n - s": [other(signature=high_s(payload))],
        "admission of a key of small order": [
            other(
                algorithm="Ed25519", key_id=sha256(spki_of(WEAK)).hexdigest(), public_key=pem_of(WEAK),
                signature=FORGED,
            )
        ],
        "admission by consent to a rotation": [
            (OLD, "attestlog.admit_signing_key", {**rotation_to(NEW, 2)[2], "label": "host-2"})
        ],
        "admission without a label": [other(label="")],
        "admission with a label too long": [other(label="x" * 65)],
        "admission with a member too many": [other(number=2)],
        "admission by a key that is not in force": [admission_of(NEXT, NEW)],
        "an entry by the key before it was admitted": [admission_of(NEXT, NEW), admitted],
        "revocation that would leave none": [
            admitted, revocation_of(NEW, 2, OLD), revocation_of(OLD, 1, OLD)
        ],
        "revocation by a key that came in by the revoked one, of itself": [
            admitted, revocation_of(NEW, 2, NEW)
        ],
        "a rotation by a key that went with another": [
            admitted, admission_of(NEXT, NEW), revocation_of(NEW, 2, OLD), rotation_to(LAST, 5, NEXT)
        ],
    }  # fmt: skip
