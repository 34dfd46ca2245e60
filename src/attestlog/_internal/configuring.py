"""Saying where this machine finds a log, and its keys: of one that came from elsewhere, or is moved.

No signer is opened, and nothing is written into the log's directory.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestlog._internal.config import (
    LogConfig,
    Signers,
    change_config,
    find_config,
    identity,
    new_config,
    replace_config,
)
from attestlog._internal.core.cosignature import ml_dsa_44
from attestlog._internal.core.genesis import CHECKPOINT_KINDS, Genesis
from attestlog._internal.core.note import COSIGNATURE_ML_DSA_44, ED25519, VerifierKey
from attestlog._internal.core.signature import public_key
from attestlog._internal.in_force import read_rules
from attestlog._internal.log.remembered import StateDir, recall
from attestlog._internal.signers.file import SCHEME, file_uri_path, key_files
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.moving import move
from attestlog._internal.storage.resolve import LogName, is_published, is_url, open_source
from attestlog.errors import KeyFileError, MalformedConfigError


def configure_log(
    name: LogName,
    *,
    entry: Sequence[str] = (),
    checkpoint: str | None = None,
    checkpoint_pq: str | None = None,
    fence: Sequence[str] = (),
) -> LogConfig:
    """Write the configuration: these signers and fences, else those that it names.

    Where it names no signers, they are key files of the keys directory. Raises KeyFileError where none of
    those is the log's, NoHomeError, MalformedConfigError, StorageError.
    """
    if not all(is_url(url) and is_published(url) for url in fence):
        # Not repeated: it may hold a secret.
        raise MalformedConfigError(
            "a fence is a URL (https: or s3:) of the published log, a witness or a replica", member="fence"
        )
    log = open_source(name)
    which = identity(log)
    entries = [_stated(uri) for uri in entry]

    def with_them(there: LogConfig | None) -> LogConfig:
        old = there.signers if there is not None else None
        found: str | list[str] = entries or (
            old.entry if old else [_find_key(read_rules(log, with_holds=False).key_ids, "entry")]
        )
        checkpoint_ids, pq_ids = _checkpoint_key_ids(log.genesis())
        signers = Signers(
            entry=found[0] if len(found) == 1 and isinstance(found, list) else found,
            checkpoint=_stated(checkpoint)
            if checkpoint
            else (old.checkpoint if old else _find_key(checkpoint_ids, "checkpoint")),
            checkpoint_pq=_stated(checkpoint_pq)
            if checkpoint_pq
            else (old.checkpoint_pq if old else _find_key(pq_ids, "checkpoint-pq") if pq_ids else None),
        )
        made = new_config(which, log.absolute(), signers, there)
        return msgspec.structs.replace(made, fence=list(fence)) if fence else made

    return replace_config(log, with_them)


def move_log(name: LogName, target: LogName, state: StateDir = None) -> LogSource:
    """Move a log, and its configuration on this machine; the log where it is now.

    Raises RollbackError where it lacks what is remembered of it, and as `storage.moving.move`.
    """
    log = open_source(name)
    config = find_config(log)
    remembered = recall(identity(log), config, state, is_transient=log.is_transient)
    try:
        remembered.compare_before(log)
        there = move(name, target, known=remembered)
    finally:
        remembered.close()
    if config is not None:
        # A crash before this leaves a configuration with the old place: it is found by the genesis hash.
        change_config(there, lambda old: new_config(identity(there), there.absolute(), old.signers, old))
    return there


def _stated(uri: str) -> str:
    """With a path that holds from anywhere."""
    return f"{SCHEME}{file_uri_path(uri)}" if uri.startswith(SCHEME) else uri


def _checkpoint_key_ids(genesis: Genesis) -> tuple[list[str], list[str]]:
    """Key ids of the checkpoint keys, as key files know them: Ed25519, ML-DSA-44."""
    ids: dict[int, list[str]] = {kind: [] for kind in CHECKPOINT_KINDS}
    for key in genesis.checkpoint_keys:
        loaded = _load_ed25519(key) if key.kind == ED25519 else ml_dsa_44(key.public_key)
        ids[key.kind].append(public_key(loaded).key_id)
    return ids[ED25519], ids[COSIGNATURE_ML_DSA_44]


def _load_ed25519(key: VerifierKey) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key.public_key)


def _find_key(key_ids: list[str], role: str) -> str:
    """URI of a key file with one of these keys, in the keys directory."""
    for uri, key, _ in key_files():
        for key_id in key_ids:
            # An encrypted file does not say whose key it holds, but its name does.
            encrypted = key is None and uri.endswith(f"-{key_id[:8]}.pem")
            if encrypted or (key is not None and key.key_id == key_id):
                return uri
    raise KeyFileError(
        f"no key file of this log is in the keys directory: name its signer with --{role}-signer"
    )
