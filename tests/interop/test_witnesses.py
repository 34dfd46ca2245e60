"""Witnesses: others' cosign our logs, and ours cosigns theirs. `make interop` fetches and builds them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.interop.verifiers import RefusedError
from tests.interop.witnesses import TesseraLog, aics_witness, litewitness, skip_without_aics
from tests.support.logs import LogMaker, draft, drafts
from tests.support.serving_app import served

from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import VerifierKey, format_vkey
from attestlog._internal.core.trust import open_trusted_checkpoint, parse_trust_policy
from attestlog._internal.core.witness import format_add_checkpoint
from attestlog._internal.server.witness import witness_app
from attestlog._internal.witness import Witness
from attestlog._internal.witness.asking import add_checkpoint, ask_witness, open_client
from attestlog._internal.witness.collecting import cosign_checkpoint
from attestlog.errors import WitnessError
from attestlog.testing import MemorySigner


@contextmanager
def theirs(name: str, folder: Path, log: VerifierKey, vkey: str) -> Iterator[tuple[str, VerifierKey]]:
    if name == "litewitness":
        with litewitness(folder, log) as found:
            yield found
    else:
        skip_without_aics()
        with aics_witness(folder, log, vkey) as found:
            yield found


@pytest.mark.parametrize("name", ["litewitness", "aics-witness"])
def test_their_witness_cosigns_our_log_and_refuses_another_history_of_it(name: str, tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", origin="example.com/interop")
    log.append(*drafts(range(4)))
    log.lay_out()
    key = log.checkpoint_key.verifier
    with theirs(name, tmp_path, key, log.checkpoint_key.vkey) as (url, vkey):
        text = f"log {log.checkpoint_key.vkey}\nwitness w {format_vkey(vkey)} {url}\nquorum w\n"
        policy = parse_trust_policy(text.encode())
        for size in (5, 6, 300, 301):
            log.append(*drafts(range(len(log.lines), size)))
            log.lay_out()
            done = cosign_checkpoint(log.root, policy)
            assert done.checkpoint.size == size
            accepted = open_trusted_checkpoint((log.root / "checkpoint").read_bytes(), policy)
            assert [who for who, _ in accepted.witnesses] == ["w"]
        fork = LogMaker(tmp_path / "fork", origin="example.com/interop")
        fork.append(*(draft(number + 1_000) for number in range(400)))
        fork.lay_out()
        note = (fork.root / "checkpoint").read_bytes()
        with pytest.raises(WitnessError, match="HTTP 4"):
            ask_witness(url, [vkey], note, lambda old: b"\0" * 32 * 9)
        with closing(open_client(url)) as client:
            status, size_told = add_checkpoint(client, url, format_add_checkpoint(7, b"", note))
        assert (status, size_told) == (409, b"301\n")


def test_our_witness_cosigns_a_log_of_tessera_which_publishes_nothing_without(tmp_path: Path) -> None:
    log = TesseraLog(tmp_path, "example.com/tessera")
    witness = Witness.begin(
        tmp_path / "memory", "witness.example.com/one", [MemorySigner("Ed25519")], [log.key]
    )
    note = b""
    with closing(witness), served(witness_app(witness)) as url:
        policy = f"witness one {format_vkey(witness.keys[0])} {url}\ngroup enough all one\nquorum enough\n"
        for count, size in ((3, 3), (1, 4), (300, 304)):
            note = log.append([b"entry %d of %d" % (n, size) for n in range(count)], policy)
            signed = open_signed_checkpoint(note, [log.key, witness.keys[0]])
            assert (signed.checkpoint.size, len(signed.signatures)) == (size, 2)
            assert witness.checkpoint(log.origin) == note
        other = TesseraLog(tmp_path / "other", log.origin)
        other.key, other._private = log.key, log._private
        with pytest.raises(RefusedError, match=r"x\.tlog\.size 304, larger than log size 0"):
            other.append([b"another history"], policy)
        assert not (tmp_path / "other" / "log" / "checkpoint").exists()
        assert witness.checkpoint(log.origin) == note
