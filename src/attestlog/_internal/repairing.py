"""Repairing a log's directory: only what is derived from the entries, or was never acknowledged.

No entry is ever touched. Damaged or missing entries can only come back from another copy (`restoring`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestlog._internal.config import LogConfig, Signers, read_config, replace_config, set_config_aside
from attestlog._internal.core.cosignature import ml_dsa_44
from attestlog._internal.core.genesis import CHECKPOINT_KINDS, Genesis
from attestlog._internal.core.note import COSIGNATURE_ML_DSA_44, ED25519, VerifierKey
from attestlog._internal.core.report import Finding, Report, Verdict
from attestlog._internal.core.signature import public_key
from attestlog._internal.in_force import read_rules
from attestlog._internal.signers.file import key_files
from attestlog._internal.storage.contract import Store
from attestlog._internal.storage.resolve import LogName, open_store
from attestlog.errors import KeyFileError, MalformedConfigError, StorageError

TORN, TREE, CONFIG = "torn", "tree", "config"

FIXES: Final = {
    "log.torn_tail": TORN,
    "log.torn_batch": TORN,
    "tree.stale": TREE,
    "config.missing": CONFIG,
    "config.malformed": CONFIG,
    "config.origin": CONFIG,
    "config.settings": CONFIG,
}
"""Findings that can be repaired, and the fix of each."""

DESCRIPTIONS: Final = {
    CONFIG: "make log.toml again from the genesis entry; the old one is kept beside it",
    TORN: "set the torn bytes aside, as a file entries/torn-…: they were never acknowledged",
    TREE: "make the stored tree again from the entries",
}
"""What each fix does; in the order in which they are done."""


def plan_fixes(report: Report) -> list[str]:
    """The fixes that the report's findings call for, in order."""
    wanted = {FIXES[code] for code in report.finding_counts if code in FIXES}
    return [fix for fix in DESCRIPTIONS if fix in wanted]


def beyond_repair(report: Report) -> list[Finding]:
    """Faults that nothing in this directory can repair."""
    return [
        fault for fault in report.findings if fault.code not in FIXES and fault.verdict != Verdict.VERIFIED
    ]


def repair_log(
    log: LogName,
    fixes: Iterable[str],
    signer: str | None,
    checkpoint_signer: str | None,
    checkpoint_pq_signer: str | None = None,
    *,
    any_filesystem: bool,
) -> list[str]:
    """Do these fixes; returns a sentence for each thing that was set aside. Raises what opening a log raises.

    The signers are for a log.toml that is made again: else those of the old one, else found among the key
    files in the keys directory. Raises KeyFileError if there is none.
    """
    set_aside: list[str] = []
    # Opening sets torn bytes aside, and goes on only if nothing else is damaged.
    store = open_store(log, any_filesystem=any_filesystem)
    try:
        with store.exclusive():
            if CONFIG in fixes:
                set_aside += _make_config(store, signer, checkpoint_signer, checkpoint_pq_signer)
            if TREE in fixes:
                store.rebuild_tree()
    finally:
        store.close()
    return [*set_aside, *store.recovered]


def _make_config(
    store: Store, signer: str | None, checkpoint_signer: str | None, checkpoint_pq_signer: str | None
) -> list[str]:
    log, genesis = store.source, store.genesis
    try:
        there: LogConfig | None = read_config(log)
    except (MalformedConfigError, StorageError):
        there = None
    old = there.signers if there else None
    entry_ids = read_rules(log, with_holds=False).key_ids
    checkpoint_ids, pq_ids = _checkpoint_key_ids(genesis)
    signers = Signers(
        entry=signer or (old.entry if old else _find_key(entry_ids, "--signer")),
        checkpoint=checkpoint_signer
        or (old.checkpoint if old else _find_key(checkpoint_ids, "--checkpoint-signer")),
        checkpoint_pq=checkpoint_pq_signer
        or (old.checkpoint_pq if old else _find_key(pq_ids, "--checkpoint-pq-signer") if pq_ids else None),
    )
    set_aside = []
    aside = set_config_aside(store)
    if aside is not None:
        path, kept = aside
        set_aside.append(f"{path} set aside as {kept}")
        if there is None:
            set_aside.append(f"replicas named in {kept} are lost: add them with `attestlog replica add`")
    # A crash before this leaves no log.toml, which is repaired in the same way.
    replace_config(store, LogConfig.of(genesis, signers, there.replicas if there else ()))
    return set_aside


def _checkpoint_key_ids(genesis: Genesis) -> tuple[list[str], list[str]]:
    """Key ids of the checkpoint keys, as key files know them: Ed25519, ML-DSA-44."""
    ids: dict[int, list[str]] = {kind: [] for kind in CHECKPOINT_KINDS}
    for key in genesis.checkpoint_keys:
        loaded = _load_ed25519(key) if key.kind == ED25519 else ml_dsa_44(key.public_key)
        ids[key.kind].append(public_key(loaded).key_id)
    return ids[ED25519], ids[COSIGNATURE_ML_DSA_44]


def _load_ed25519(key: VerifierKey) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key.public_key)


def _find_key(key_ids: list[str], option: str) -> str:
    """URI of a key file with one of these keys, in the keys directory."""
    for uri, key, _ in key_files():
        for key_id in key_ids:
            # An encrypted file does not say whose key it holds, but its name does.
            encrypted = key is None and uri.endswith(f"-{key_id[:8]}.pem")
            if encrypted or (key is not None and key.key_id == key_id):
                return uri
    raise KeyFileError(f"no key file of this log is in the keys directory: name its signer with {option}")
