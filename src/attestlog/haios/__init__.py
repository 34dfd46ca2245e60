"""The names of the HAIOS Attestation Log Schema 1.0.0, for code that was written for it.

    log = ImmutableAttestationLog("audit", hsm_key)
    entry = log.append({"event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-7"})
    log.verify_integrity(), log.get_merkle_root(), log.query({"actor_id": "agent-7"}), log.entries[-1]

It is a thin layer over attestlog: what these names write is an ordinary log, and its hashes, root and
signatures are attestlog's. It is not the schema's reference code: `docs/haios.md` says member by member and
method by method where the two differ, and why. `schema_entry_hash` and `schema_merkle_root` compute what the
schema's own code computes, for comparison only.
"""

from attestlog.haios._entry import AttestationEntry, schema_entry_hash, schema_merkle_root
from attestlog.haios._log import Entries, ImmutableAttestationLog
from attestlog.haios._minimal import MinimalAttestationLog

__all__ = [
    "AttestationEntry",
    "Entries",
    "ImmutableAttestationLog",
    "MinimalAttestationLog",
    "schema_entry_hash",
    "schema_merkle_root",
]
