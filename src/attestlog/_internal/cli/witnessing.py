"""What `attestlog witness` opens and prints."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attestlog._internal.cli.opening import ask_passphrase
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.storage.files.layout import CHECKPOINT_FILE

if TYPE_CHECKING:
    from attestlog._internal.witness import Witness
    from attestlog._internal.witness.collecting import Cosigned


def open_witness(
    directory: Path, name: str | None, keys: list[str], logs: list[str], undo: ExitStack
) -> Witness:
    """The witness of this folder, begun if it has a name and there is none; knows these logs from now on."""
    from attestlog._internal.core.note import check_key_name, parse_vkey
    from attestlog._internal.core.signature import ED25519
    from attestlog._internal.signers.making import given_or_made, given_or_opened
    from attestlog._internal.witness import Witness
    from attestlog._internal.witness.state import STATE_FILE, WitnessState
    from attestlog._internal.witness.witness import check_log_key

    # "<origin> <vkey>", or a vkey alone: no vkey holds a space.
    known = [
        (parse_vkey(vkey), origin or None) for origin, _, vkey in (text.rpartition(" ") for text in logs)
    ]
    if (directory / STATE_FILE).exists():
        state = WitnessState(directory)
        if name not in {None, state.name} or keys:
            raise UsageError(f"{directory} is the witness {state.name!r} already, with keys of its own")
        signers = [given_or_opened(uri, ask_passphrase, undo) for uri in state.keys.values()]
        opened = Witness(state, signers)
        for key, origin in known:
            opened.add_log(key, origin)
        return opened
    if name is None:
        raise UsageError(f"{directory} is no witness yet: --name NAME begins one")
    check_key_name(name)
    for key, origin in known:
        check_log_key(name, key, origin)  # before a key is made
    uris: list[str] | list[None] = keys or [None]
    made = [given_or_made(uri, origin=name, role="witness", algorithm=ED25519) for uri in uris]
    begun = Witness.begin(directory, name, [given_or_opened(one, ask_passphrase, undo) for one in made])
    for key, origin in known:
        begun.add_log(key, origin)
    return begun


def kept_checkpoint(folder: str) -> bytes | None:
    """The checkpoint in a log's or published folder, whose cosigners may not have forgotten it; or None."""
    try:
        return (Path(folder) / CHECKPOINT_FILE).read_bytes()
    except OSError:
        return None  # whoever opens the folder says what is wrong with it


def cosign(log: str, policy: Path, *, previous: bytes | None, fail_open: bool) -> Cosigned:
    """Have the stored checkpoint cosigned, and say on stderr who did not."""
    from attestlog._internal.core.trust import parse_trust_policy
    from attestlog._internal.witness.collecting import cosign_checkpoint
    from attestlog.errors import QuorumError

    rules = parse_trust_policy(policy.read_bytes())
    try:
        done = cosign_checkpoint(log, rules, previous=previous, fail_open=fail_open)
    except QuorumError as error:
        for name, why in error.failures.items():
            notice(f"witness {name}: {why}")
        raise
    for name, failure in done.failures.items():
        notice(f"witness {name}: {failure.message}")
    if done.lacking is not None:
        notice(f"gone on all the same: {done.lacking.message}")
    return done


def print_evidence(out: Output, directory: Path) -> None:
    """Every split view that was seen, both checkpoints of it."""
    from attestlog._internal.witness.state import WitnessState

    found = WitnessState(directory).evidence()
    for item in found:
        seen_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.seen_at))
        ours, theirs = item.ours.decode(), item.theirs.decode()
        if out.as_json:
            told = {"origin": item.origin, "seen_at": seen_at, "reason": item.reason}
            out.emit("split_view", {**told, "ours": ours, "theirs": theirs})
            continue
        out.text((f"{item.origin}: {item.reason}", "bold red"))
        out.text(f"seen {seen_at}")
        for title, text in (("cosigned before", ours), ("told later", theirs)):
            out.text(f"{title}:")
            for line in text.splitlines():
                out.text(f"  {line}")
    if not found and not out.as_json:
        out.text("no split view was seen")
