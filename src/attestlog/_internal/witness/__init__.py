"""Witnesses: cosign checkpoints of logs, each only if it continues the one before; collect such cosignatures.

A witness sees no entries: checkpoints and consistency proofs only. It knows no HTTP; that is in `server`.
"""

from attestlog._internal.witness.witness import Witness

__all__ = ["Witness"]
