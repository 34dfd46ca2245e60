"""A log's identity and the keys there are, as `init` and `keys list` show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.config import read_config
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.note import COSIGNATURE_ML_DSA_44, ED25519, format_vkey
from attestlog._internal.core.rotation import ROTATE_ACTION_TYPE, parse_rotation
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import SignerError

if TYPE_CHECKING:
    from attestlog._internal.core.genesis import Genesis

_ALGORITHMS: Final = {ED25519: "Ed25519", COSIGNATURE_ML_DSA_44: "ML-DSA-44"}


def describe_log(path: str) -> dict[str, Any]:
    """Origin, keys, settings and policy, and where log.toml says the private keys are."""
    import msgspec

    log = open_source(path)
    genesis, config = log.genesis(), read_config(log)
    return {
        "path": log.absolute(),
        "origin": genesis.origin,
        **describe_keys(genesis),
        "signers": msgspec.to_builtins(config.signers),
        "settings": msgspec.to_builtins(genesis.settings),
        "policy": msgspec.to_builtins(genesis.policy),
    }


def describe_keys(genesis: Genesis) -> dict[str, Any]:
    """The public keys that the genesis entry names."""
    return {
        "entry_keys": [
            {"key_id": key_id, "algorithm": key.algorithm, "public_key": key.pem}
            for key_id, key in genesis.entry_keys.items()
        ],
        "checkpoint_keys": [format_vkey(key) for key in genesis.checkpoint_keys],
    }


def list_key_files() -> Iterator[dict[str, Any]]:
    """The key files where keys are kept; what cannot be opened says its `problem` instead of a key id."""
    from attestlog._internal.signers import file as key_files

    for path in sorted(key_files.keys_dir().glob("*.pem")):
        row: dict[str, Any] = {
            "uri": f"{key_files.SCHEME}{path}",
            "algorithm": None,
            "key_id": None,
            "problem": None,
        }
        try:
            public = key_files.open_file_signer(row["uri"]).public_key
            row |= {"algorithm": public.algorithm, "key_id": public.key_id}
        except SignerError as error:
            row["problem"] = "encrypted" if "needs_passphrase" in error.evidence() else str(error)
        yield row


def list_log_keys(log: str) -> Iterator[dict[str, Any]]:
    """The public keys of a log: each entry key with the entries it signs, then the checkpoint keys."""
    source = open_source(log)
    genesis = source.genesis()
    rules, lines = source.governance()
    keys = dict(genesis.entry_keys)
    for entry in map(decode_line, lines):
        if entry.action_type == ROTATE_ACTION_TYPE:
            key = parse_rotation(entry.action_payload).key
            keys[key.key_id] = key
    for key_id, term in rules.terms.items():
        key = keys[key_id]
        yield {
            "signs": "entries", "algorithm": key.algorithm, "key_id": key_id, "public_key": key.pem,
            "start": term.start, "stop": term.stop, "last_trusted": term.last_trusted,
        }  # fmt: skip
    for vkey in genesis.checkpoint_keys:
        key_id = vkey.key_id.hex()
        yield {
            "signs": "checkpoints",
            "algorithm": _ALGORITHMS[vkey.kind],
            "key_id": key_id,
            "vkey": format_vkey(vkey),
        }


def signs(row: dict[str, Any]) -> str:
    """Where a key file is, or what a log's key signs, in words."""
    if "uri" in row:
        return str(row["uri"])
    words = str(row["signs"])
    if row.get("start") or row.get("stop") is not None:
        last = "on" if row["stop"] is None else f"to {row['stop'] - 1}"
        words += f" from {row['start']} {last}"
    if row.get("last_trusted") is not None:
        words += f", revoked: trusted to {row['last_trusted']}"
    return words
