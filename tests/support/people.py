"""People who approve, with real keys, and what they sign.

ana = Person("ana"); ana.approve(draft)      # an element of `received_approvals`
policy = governed(rules={...})               # a policy in which creator, community and auditor approve
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from attestlog._internal.core import canonical
from attestlog._internal.core.approval import Request, message_of
from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.policy import Policy, parse_policy
from attestlog._internal.core.signature import public_key
from attestlog._internal.core.sshsig import format_ssh_key

DATED = "2025-10-30T11:00:00.000000Z"
"""An hour before the first entries of the tests' logs."""
EXPIRES = "2025-11-30T12:00:00.000000Z"
ROLES = ("creator", "community", "auditor")


class Person:
    """An approver. `number` tells one person's keys apart."""

    def __init__(self, name: str, number: int = 1, algorithm: str = "Ed25519") -> None:
        self.name, self.algorithm = name, algorithm
        seed = sha256(f"{name} {number}".encode()).digest()
        if algorithm == "Ed25519":
            edwards = Ed25519PrivateKey.from_private_bytes(seed)
            self.sign: Callable[[bytes], bytes] = edwards.sign
            self.public = public_key(edwards.public_key())
        else:
            private = derive_private_key(int.from_bytes(seed) >> 1, SECP256R1())
            self.sign = lambda message: to_low_s(private.sign(message, ECDSA(SHA256())))
            self.public = public_key(private.public_key())

    @property
    def key_id(self) -> str:
        return self.public.key_id

    @property
    def ssh(self) -> str:
        return format_ssh_key(self.public)

    def approve(self, draft: dict[str, Any], origin: str, **said: str) -> dict[str, str]:
        """An approval of this draft's payload; `said` changes what is signed, e.g. `meaning`."""
        terms = {"signer": self.name, "meaning": "approve", "timestamp": DATED, "expires": EXPIRES, **said}
        action_hash = hex_hash(canonical.encode(draft.get("action_payload", {})))
        request = Request(origin, draft["action_type"], action_hash, draft["actor_id"], DATED)
        signature = self.sign(message_of(request, **terms)).hex()
        return {**terms, "key_id": self.key_id, "algorithm": self.public.algorithm, "signature": signature}


PEOPLE = tuple(map(Person, ROLES))
"""Creator, community and auditor, whose keys `governed` policies hold."""


def members_of(*people: Person, **roles: str) -> dict[str, Any]:
    """`approvers` of a policy: each has the role of their name, unless told otherwise."""
    found: dict[str, Any] = {}
    for person in people:
        role = roles.get(person.name, person.name)
        known = found.setdefault(person.name, {"roles": [role], "keys": []})
        known["keys"].append(person.public.pem)
    return found


def governed(**members: Any) -> Policy:
    """Creator, community and auditor approve what the rules say."""
    approvers = members_of(*PEOPLE)
    return parse_policy({"approvers": approvers, **members})
