"""Inputs to start from: every text in the test vectors, and those vectors that other people made."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.people import Person
from tests.support.ssh import armoured, fido_sshsig

from attestlog._internal.core.signature import ECDSA_P256, ED25519

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SIZE_MAX_BYTES = 20_000
"""Longer inputs make every step slow and find nothing that shorter ones do not."""

KEY_URIS = (
    b"pkcs11:token=attest;object=log%20key;id=%01%ab;type=private?module-path=/usr/lib/m.so&timeout-s=2.5",
    b"manufacturer=M;serial=75723a;model=v2;object=e?pin-source=file:/run/pin&public-key=/k.pem",
)


def seeds() -> list[bytes]:
    """Sorted, none twice."""
    found = {*KEY_URIS, *_of_authenticators()}
    for path in sorted(VECTORS.glob("*.json")):
        found.update(_texts(json.loads(path.read_text(encoding="utf-8"))))
    compressed = json.loads((VECTORS / "compression.json").read_text(encoding="utf-8"))
    found.update(bytes.fromhex(case["file"]) for case in compressed["cases"])
    elsewhere = os.environ.get("ATTESTLOG_VECTORS")
    for path in sorted(Path(elsewhere).rglob("*")) if elsewhere else []:
        if path.is_file() and path.stat().st_size <= SIZE_MAX_BYTES:
            found.add(path.read_bytes())
    return sorted(data for data in found if len(data) <= SIZE_MAX_BYTES)


def _of_authenticators() -> Iterator[bytes]:
    """Signatures by FIDO keys: as bytes, in hex as approvals hold them, and as `ssh-keygen` writes them."""
    for algorithm in (ED25519, ECDSA_P256):
        hexed = fido_sshsig(Person("ana", algorithm=algorithm), "file", b"message")
        yield from (bytes.fromhex(hexed), hexed.encode(), armoured(hexed).encode())


def _texts(value: Any) -> Iterator[bytes]:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item.encode("utf-8", "surrogatepass")
        elif isinstance(item, dict):
            yield json.dumps(item).encode()
            todo += item.values()
        elif isinstance(item, list):
            todo += item
