"""What `attestlog witness` opens and prints."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attestlog.cli.opening import ask_passphrase
from attestlog.cli.output import Output
from attestlog.cli.verbs import UsageError

if TYPE_CHECKING:
    from attestlog.witness import Witness


def open_witness(
    directory: Path, name: str | None, keys: list[str], logs: list[str], undo: ExitStack
) -> Witness:
    """The witness of this folder, begun if it has a name and there is none; knows these logs from now on."""
    from attestlog.core.note import parse_vkey
    from attestlog.core.signature import ED25519
    from attestlog.signers.making import given_or_made, given_or_opened
    from attestlog.witness import Witness
    from attestlog.witness.state import STATE_FILE, WitnessState
    from attestlog.witness.witness import cosigner_key

    begins = not (directory / STATE_FILE).exists()
    if begins and name is None:
        raise UsageError(f"{directory} is no witness yet: --name NAME begins one")
    state = None if begins else WitnessState(directory)
    if state is not None and (name not in {None, state.name} or keys):
        raise UsageError(f"{directory} is the witness {state.name!r} already, with keys of its own")
    uris: list[str] | list[None] = (keys or [None]) if state is None else state.signers
    called = str(name) if state is None else state.name
    made = [given_or_made(uri, origin=called, role="witness", algorithm=ED25519) for uri in uris]
    signers = [given_or_opened(one, ask_passphrase, undo) for one in made]
    for signer in signers:
        cosigner_key(called, signer)  # before anything is begun with it
    state = state or WitnessState.create(directory, called, [signer.uri for signer in signers])
    for vkey in map(parse_vkey, logs):
        if vkey.name == called:
            raise UsageError(f"a log has the witness's own name {called!r}")
        state.add_log(vkey)
    return Witness(state, signers)


def print_evidence(out: Output, directory: Path) -> None:
    """Every split view that was seen, both checkpoints of it."""
    from attestlog.witness.state import WitnessState

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
