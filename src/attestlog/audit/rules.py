"""What entries are judged by: keys and policy in force at a sequence number.

So far both are the genesis entry's, at every number. Rotation, revocation and
changes of policy are answered here and nowhere else.
"""

from __future__ import annotations

from attestlog.core.entry import decode_line
from attestlog.core.genesis import Genesis, parse_genesis
from attestlog.core.policy import Policy
from attestlog.core.signature import BATCH_SUFFIX, PublicKey


class Rules:
    """Made from the genesis line, so that a worker process can make its own."""

    def __init__(self, genesis: Genesis) -> None:
        self._keys = genesis.entry_keys
        self._policy = genesis.policy
        self.key_ids = sorted(self._keys)
        self._signing_keys = {
            (key_id, algorithm): key
            for key_id, key in self._keys.items()
            for algorithm in (key.algorithm, key.algorithm + BATCH_SUFFIX)
        }

    def signing_key(self, key_id: str, algorithm: str, sequence_number: int) -> PublicKey | None:  # noqa: ARG002
        """The key of this id, if it is in force at this entry and signs with this algorithm."""
        return self._signing_keys.get((key_id, algorithm))

    def key(self, key_id: str, sequence_number: int) -> PublicKey | None:  # noqa: ARG002 - rotation's seam
        """The key of this id, if it is in force at this entry."""
        return self._keys.get(key_id)

    def policy(self, sequence_number: int) -> Policy:  # noqa: ARG002 - policy changes' seam
        """The policy in force at this entry."""
        return self._policy


def read_rules(genesis_line: bytes) -> Rules:
    """Raises MalformedEntryError unless the line is a genesis entry."""
    return Rules(parse_genesis(decode_line(genesis_line)))
