"""Writes the vector files beside it anew: `python -m tests.vectors.make`.

Everything is made from fixed bytes: the same software gives the same files. The
private keys are the SHA-256 of a name; they guard nothing and must never.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.vectors.makers.cases import Case
from tests.vectors.makers.of_bundles import bundle
from tests.vectors.makers.of_compression import compression
from tests.vectors.makers.of_entries import canonical, entry, hashes, merkle, signature
from tests.vectors.makers.of_governance import approval, policy
from tests.vectors.makers.of_logs import checkpoint, genesis, log, note
from tests.vectors.makers.of_proofs import consistency, cosignature, proof, trust
from tests.vectors.makers.of_rotation import rotation
from tests.vectors.makers.of_rules import rules
from tests.vectors.makers.of_secrets import erasure, redaction, snapshot
from tests.vectors.makers.of_tiles import tiles
from tests.vectors.makers.of_witness import witness

FOLDER = Path(__file__).parent
PROVENANCE = (
    "Made by tests/vectors/make.py of attestlog with test-only keys from fixed bytes. A case with an `error` "
    "must be refused; the code says what kind of fault it is."
)
MAKERS = (
    canonical, entry, hashes, signature, merkle, note, checkpoint, genesis, policy, log, tiles,
    cosignature, trust, proof, consistency, approval, rules, rotation, witness,
    redaction, erasure, snapshot, compression, bundle,
)  # fmt: skip


def format_vectors(name: str, cases: list[Case]) -> str:
    document = {"format": f"docs/spec/{name}.md", "provenance": PROVENANCE, "cases": cases}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    for maker in MAKERS:
        text = format_vectors(maker.__name__, maker())
        (FOLDER / f"{maker.__name__}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
