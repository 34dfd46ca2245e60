"""prove, and verify of proof files: made from a log, good without it, and to whom."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Result, Run
from tests.support.logs import draft
from tests.support.shapes import ed25519_key

import attestlog
from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import VerifierKey, format_note, format_vkey, parse_note
from attestlog._internal.core.proof import Proof, format_proof, parse_proof
from attestlog._internal.log import Log
from attestlog._internal.proving import prove, prove_prefix
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import CorruptError, InclusionError, MalformedProofError, NotFoundError, TrustError

WITNESS_KEY = ed25519_key("w1")


WITNESS = VerifierKey("w1.example", 4, WITNESS_KEY.public_key().public_bytes_raw())


@pytest.fixture
def entry_pem(log: Path) -> str:
    (key,) = open_source(log).genesis().entry_keys.values()
    return key.pem


@pytest.fixture
def proof(run: Run, log: Path, tmp_path: Path, vkey: str, entry_pem: str) -> Path:
    """Of entry 2; the log is gone afterwards."""
    path = tmp_path / "two.tlog-proof"
    assert run("prove", log, 2, "-o", path).code == 0
    log.rename(tmp_path / "elsewhere")
    return path


def codes(result: Result) -> list[str]:
    return [finding["code"] for finding in result.object["findings"]]


def cosigned(log: Path) -> None:
    """The log's checkpoint gets a line by the witness."""
    path = log / layout.CHECKPOINT_FILE
    note = parse_note(path.read_bytes())
    line = cosign(note.text, WITNESS, 1_761_825_600, WITNESS_KEY.sign)
    path.write_bytes(format_note(note.text, [*note.signatures, line]))


def test_a_proof_is_good_with_the_log_gone(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    entry = open_source(log).entry(2)
    path = tmp_path / "two.tlog-proof"
    assert run("prove", log, 2, "-o", path) == Result(0, "", "")
    shutil.rmtree(log)
    report = run("verify", path, "--trust", vkey, "--json")
    assert (report.code, report.object["verdict"], report.object["exit_code"]) == (0, "VERIFIED", 0)
    found = report.object
    assert (found["sequence_number"], found["origin"], found["size"]) == (2, ORIGIN, 4)
    assert found["entry"]["entry_hash"] == entry.entry_hash
    assert found["entry"]["action_payload"] == draft(2)["action_payload"]
    assert found["signed_by"] == [vkey]
    assert (found["has_payload"], found["is_entry_key_trusted"]) == (True, False)
    assert found["entry_key_id"] == entry.signing_key_id
    assert codes(report) == ["proof.not_cosigned", "proof.entry_key"]


NO_NETWORK = """
import sys
def refuse(event, _):
    if event.startswith("socket."):
        raise RuntimeError(event)
sys.addaudithook(refuse)
from attestlog._internal.cli import main
sys.exit(main())
"""


def test_verifying_a_proof_asks_no_network(proof: Path, vkey: str) -> None:
    command = [sys.executable, "-c", NO_NETWORK, "verify", str(proof), "--trust", vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    probe = [sys.executable, "-c", NO_NETWORK.replace("main()", "__import__('socket').socket()")]
    assert b"socket.__new__" in subprocess.run(probe, capture_output=True, check=False, timeout=60).stderr


def test_what_was_shown_is_said_to_people(run: Run, proof: Path, vkey: str, entry_pem: str) -> None:
    result = run("verify", proof, "--trust", vkey)
    assert result.code == 0
    assert result.out.startswith(f"VERIFIED: entry 2 is in the log {ORIGIN}\n")
    for words in (
        f"signed by   {vkey} (trusted)", "payload     here, as it was recorded", "by the writer's clock",
        "(not given, so not judged)", "not shown: that the log still holds the entry",
    ):  # fmt: skip
        assert words in result.out
    pinned = run("verify", proof, "--trust", vkey, "--trust", entry_pem)
    assert "(trusted, and it signed the entry)" in pinned.out


def test_the_proof_goes_to_stdout_where_no_file_is_named(run: Run, log: Path) -> None:
    result = run("prove", log, 1)
    assert result.out.encode() == prove(log, 1)
    shown = run("prove", log, 1, "--json").object
    assert (shown["type"], shown["path"], shown["proof"]) == ("proof", None, result.out)


def test_without_its_payload(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    path = tmp_path / "p"
    assert run("prove", log, 2, "--without-payload", "-o", path).code == 0
    extra = parse_proof(path.read_bytes()).extra
    assert extra is not None
    assert json.loads(extra)["action_payload"] is None
    report = run("verify", path, "--trust", vkey, "--json")
    assert (report.code, report.object["has_payload"]) == (0, False)
    assert "proof.payload" in codes(report)
    assert "not here, its hash is" in run("verify", path, "--trust", vkey).out


def test_a_key_that_was_never_given_is_said_to_be_remembered(
    run: Run, log: Path, tmp_path: Path, vkey: str
) -> None:
    proof = tmp_path / "two.tlog-proof"
    assert run("prove", log, "2", "-o", proof).code == 0
    assert run("verify", log).code == 0
    result = run("verify", proof)
    assert result.code == 0
    assert result.out.startswith("VERIFIED, SELF-ATTESTED: entry 2 is in the log")
    assert f"{vkey} (remembered, self-attested)" in result.out
    assert "pass --trust VKEY" in result.err
    assert run("verify", proof, "--json").object["self_attested"]
    assert run("verify", log, "--trust", vkey).code == 0
    assert f"{vkey} (remembered, trusted then)" in run("verify", proof).out


def test_without_a_key_nothing_is_shown(run: Run, proof: Path) -> None:
    report = run("verify", proof, "--json")
    assert (report.code, report.object["verdict"]) == (4, "UNKNOWN")
    assert "trust.none" in codes(report)
    assert report.object["signed_by"] == []


def test_another_logs_key_is_not_whom_was_asked_for(run: Run, proof: Path) -> None:
    other = VerifierKey(ORIGIN, 1, WITNESS.public_key)
    report = run("verify", proof, "--trust", format_vkey(other), "--json")
    assert (report.code, report.object["verdict"]) == (5, "FORKED")
    assert codes(report)[0] == "trust.mismatch"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_changed_proof_is_tampered_with_or_without_a_key(
    run: Run, proof: Path, vkey: str, trusted: bool
) -> None:
    parsed = parse_proof(proof.read_bytes())
    assert parsed.extra is not None
    changed = parsed.extra.replace(b'"number":2', b'"number":7')
    text = proof.read_text().replace(
        base64.b64encode(parsed.extra).decode(), base64.b64encode(changed).decode()
    )
    proof.write_text(text)
    report = run("verify", proof, *(["--trust", vkey] if trusted else []), "--json")
    assert (report.code, report.object["verdict"]) == (1, "TAMPERED")
    assert "proof.hash" in codes(report)


def test_a_changed_checkpoint_is_tampered(run: Run, proof: Path, vkey: str) -> None:
    proof.write_text(proof.read_text().replace(f"\n{ORIGIN}\n4\n", f"\n{ORIGIN}\n5\n"))
    report = run("verify", proof, "--trust", vkey, "--json")
    assert (report.code, codes(report)) == (1, ["proof.checkpoint"])


def test_a_swapped_leaf_and_a_path_for_another_size(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    one, two = parse_proof(prove(log, 1)), parse_proof(prove(log, 2))
    path = tmp_path / "swapped.tlog-proof"
    path.write_bytes(format_proof(Proof(1, one.path, one.checkpoint, two.extra)))
    report = run("verify", path, "--trust", vkey, "--json")
    assert (report.code, codes(report)[-1]) == (1, "proof.inclusion")


def test_what_is_no_proof_is_malformed(run: Run, tmp_path: Path, vkey: str) -> None:
    path = tmp_path / "x.tlog-proof"
    header = b"c2sp.org/tlog-proof@v1\n"
    for data in (b"", header, b"\x00\xff", header + b"index 0\n\nno note\n"):
        path.write_bytes(data)
        report = run("verify", path, "--trust", vkey, "--json")
        assert (report.code, codes(report)) == (3, ["proof.malformed"])


def test_a_file_that_cannot_be_read_is_no_verdict_on_it(run: Run, tmp_path: Path, vkey: str) -> None:
    (tmp_path / "folder.tlog-proof").mkdir()
    for name in ("missing.tlog-proof", "folder.tlog-proof"):
        report = run("verify", tmp_path / name, "--trust", vkey, "--json")
        assert (report.code, codes(report)) == (4, ["proof.unreadable"])


def test_witnesses_that_a_policy_asks_for(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    bare, full = tmp_path / "bare", tmp_path / "full"
    run("prove", log, 1, "-o", bare)
    cosigned(log)
    run("prove", log, 1, "-o", full)
    policy = tmp_path / "policy"
    policy.write_text(f"log {vkey}\nwitness W1 {format_vkey(WITNESS)}\nquorum W1\n")
    report = run("verify", full, "--trust-policy", policy, "--json")
    assert (report.code, report.object["signed_by"]) == (0, [vkey])
    (cosigner,) = report.object["cosigned_by"]
    assert cosigner == {"name": "W1", "vkey": format_vkey(WITNESS), "timestamp": 1_761_825_600}
    assert (
        "W1 at 2025-10-30T12:00:00.000000Z by its clock" in run("verify", full, "--trust-policy", policy).out
    )
    report = run("verify", bare, "--trust-policy", policy, "--json")
    assert (report.code, report.object["verdict"]) == (5, "FORKED")
    (finding,) = [item for item in report.object["findings"] if item["code"] == "trust.quorum"]
    assert (finding["expected"], finding["found"]) == (["witness W1"], [])
    report = run("verify", full, "--trust", vkey, "--json")
    assert "proof.signatures_unknown" in codes(report)
    assert report.object["unknown_signatures"] == 1
    policy.write_text("quorum\n")
    assert run("verify", full, "--trust-policy", policy).code == 3


def test_consistency_with_an_earlier_state(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    old = tmp_path / "old.note"
    old.write_bytes((log / layout.CHECKPOINT_FILE).read_bytes())
    with Log.open(log) as opened:
        opened.append_many(draft(number) for number in range(10))
    by_size, by_note = tmp_path / "a.tlog-consistency", tmp_path / "b"
    assert run("prove", log, "--from", 4, "-o", by_size).code == 0
    assert run("prove", log, "--from", old, "-o", by_note).code == 0
    assert by_size.read_bytes() == by_note.read_bytes()
    shutil.rmtree(log)
    report = run("verify", by_note, "--trust", vkey, "--since", old, "--json")
    assert (report.code, report.object["format"]) == (0, "consistency")
    assert (report.object["old_size"], report.object["size"]) == (4, 14)
    shown = run("verify", by_size, "--trust", vkey)
    assert "VERIFIED: the old root is that of the first 4 of 14 entries" in shown.out


def test_another_history_than_was_held(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    held = tmp_path / "held.note"
    note = parse_note((log / layout.CHECKPOINT_FILE).read_bytes())
    lines = note.text.split("\n")
    proof = tmp_path / "c.tlog-consistency"
    run("prove", log, "--from", 4, "-o", proof)
    other_root = base64.b64encode(bytes(32)).decode()
    for text, code, found in (
        (f"{lines[0]}\n4\n{other_root}\n", 5, "proof.held"),
        (f"example.com/other\n4\n{lines[2]}\n", 5, "proof.held"),
        (f"{lines[0]}\n3\n{lines[2]}\n", 4, "proof.held_size"),
    ):
        held.write_bytes(format_note(text, note.signatures))
        report = run("verify", proof, "--trust", vkey, "--since", held, "--json")
        assert (report.code, codes(report)[-1]) == (code, found)
    held.write_bytes(format_note(f"{lines[0]}\n4\n{other_root}\n", note.signatures))
    result = run("prove", log, "--from", held)
    assert (result.code, result.out) == (5, "")


def test_a_prefix_that_is_none(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    path = tmp_path / "c.tlog-consistency"
    run("prove", log, "--from", 3, "-o", path)
    path.write_text(path.read_text().replace("old 3", "old 2"))
    report = run("verify", path, "--trust", vkey, "--json")
    assert (report.code, codes(report)[-1]) == (1, "proof.consistency")


@pytest.mark.parametrize(
    "arguments, code",
    [
        ([], 2),
        (["1", "--from", "2"], 2),
        (["4"], 4),
        (["-1"], 2),
        (["--from", "0"], 4),
        (["--from", "5"], 4),
        (["--from", "no-such-file"], 4),
        (["one"], 2),
    ],
)
def test_what_cannot_be_proved(run: Run, log: Path, arguments: list[str], code: int) -> None:
    result = run("prove", log, *arguments)
    assert (result.code, result.out) == (code, "")


def test_an_entry_that_no_checkpoint_covers_yet(run: Run, log: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.note"
    old.write_bytes((log / layout.CHECKPOINT_FILE).read_bytes())
    with Log.open(log) as opened:
        opened.append(draft(4))
    result = run("prove", log, 4, "--checkpoint", old)
    assert (result.code, result.out) == (4, "")
    assert "the checkpoint covers 4 entries, not entry 4" in result.err
    assert "hint: attestlog checkpoint LOG signs" in result.err
    assert run("prove", log, 4).code == 0


def test_proving_only_reads(run: Run, log: Path, tmp_path: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in log.rglob("*")}

    before = state()
    for path in log.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    run("prove", log, 2, "-o", tmp_path / "p")
    run("prove", log, "--from", 2, "-o", tmp_path / "c")
    assert state() == before


@pytest.mark.parametrize("name", ["tree/0", "entries/000000000000.jsonl", "checkpoint"])
def test_what_is_damaged_is_not_proved(log: Path, name: str) -> None:
    data = (log / name).read_bytes()
    (log / name).write_bytes(data[: len(data) // 4])
    with pytest.raises((CorruptError, attestlog.AttestlogError)) as caught:
        prove(log, 2)
    assert caught.value.code in {"storage.corrupt", "malformed.note"}
    (log / name).unlink()
    with pytest.raises(attestlog.AttestlogError):
        prove(log, 2)


def test_a_changed_hash_or_entry_is_not_proved(log: Path) -> None:
    tree = log / "tree" / "0"
    whole = tree.read_bytes()
    tree.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CorruptError, match="nothing can be proved"):
        prove(log, 1)
    with pytest.raises(CorruptError, match="nothing can be proved"):
        prove_prefix(log, 3)
    tree.write_bytes(whole)
    segment = log / "entries" / "000000000000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"number":2', b'"number":7'))
    with pytest.raises(CorruptError, match="action_hash") as caught:
        prove(log, 2)
    assert caught.value.sequence_number == 2


def test_from_python(log: Path, vkey: str, entry_pem: str, tmp_path: Path) -> None:
    with Log.open(log) as opened:
        receipt = opened.append(draft(4))
        data = opened.prove(receipt.sequence_number)
        assert opened.prove(receipt.sequence_number) == data
        with pytest.raises(NotFoundError):
            opened.prove(5)
    assert attestlog.prove(log, 4) == data
    shutil.rmtree(log)
    attestlog.verify_proof(data, trust=[vkey])
    attestlog.verify_proof(data, trust=[vkey, entry_pem])
    path = tmp_path / "x"
    path.write_bytes(data)
    attestlog.verify_proof(path, trust=[vkey])
    attestlog.verify_proof(str(path), trust_policy=f"log {vkey}\nquorum none\n".encode())
    for trust in ([], [entry_pem], [format_vkey(WITNESS)]):
        with pytest.raises(TrustError):
            attestlog.verify_proof(data, trust=trust)
    with pytest.raises(InclusionError):
        attestlog.verify_proof(data.replace(b"index 4", b"index 3"), trust=[vkey])
    with pytest.raises(MalformedProofError):
        attestlog.verify_proof(b"", trust=[vkey])
    with pytest.raises(NotFoundError):
        attestlog.verify_proof(tmp_path / "none", trust=[vkey])
