"""The one-file verifier beside the full one: one verdict on every vector and on damaged logs."""

import ast
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.property.strategies import DAMAGE, damaged
from tests.support.logs import CheckpointKey, Key, LogMaker, draft, drafts, revocation, say_range_erased
from tests.support.repository import parsed
from tests.vectors.reading import CASES, lay_out

from attestlog._internal.cli.exits import BY_VERDICT
from attestlog._internal.core.entry import EventType, ExecutionStatus, decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import ERASING, GENESIS, GOVERNING, KNOWN
from attestlog._internal.core.trust import parse_trust_policy
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log, judge_proof

SCRIPT = Path(one_file.__file__)
NOT_JUDGED = {"entry.derived", "entry.invariant", "entry.proofs_unknown", "erasure.held", "erasure.refused"}
"""What the one file leaves to the full verifier: it says so in its first lines."""


def verdict(subject: Path, *trust: str, checkpoint: Path | None = None) -> str:
    report = one_file.Report()
    one_file.verify(report, subject, checkpoint, one_file.parse_trust(list(trust)))
    return report.verdict


def full_verdict(root: Path, *trust: str) -> str | None:
    """None where a finding is of what the one file does not judge."""
    report = judge_log(root, remember=False, trust=trust, workers=1)
    is_policy = any("genesis payload: policy" in finding.message for finding in report.findings)
    return None if is_policy or NOT_JUDGED & report.finding_counts.keys() else report.verdict


def test_it_is_one_file_that_needs_python_and_cryptography() -> None:
    tree = parsed(SCRIPT)
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add(str(node.module).split(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"cryptography"}


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert {str(verdict): code for verdict, code in BY_VERDICT.items()} == one_file.EXIT_CODES


# --- vectors ---


@pytest.mark.parametrize("case", CASES["canonical"], ids=lambda case: str(case["name"]))
def test_canonical_form(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["input_hex"]) if "input_hex" in case else case["input"].encode()
    try:
        found = one_file.canonical(one_file.parse_json(data.decode()))
        found.encode()
    except (one_file.Malformed, UnicodeError):
        assert case["error"]
        return
    # That a name stands twice is seen by spelling the value again: nothing is canonical but its own spelling.
    assert case["error"] is None or found != case["input"]
    assert case["error"] is not None or found == case["canonical"]


LINES = [case for case in CASES["entry"] if "line" in case]


@pytest.mark.parametrize("case", LINES, ids=lambda case: str(case["name"]))
def test_entries(case: dict[str, Any]) -> None:
    line = case["line"].encode()
    try:
        one_file.check_entry(one_file.decode_entry(line), line)
    except one_file.Malformed:
        assert case["error"] == "malformed.entry"
    else:
        assert case["error"] is None


@pytest.mark.parametrize("case", CASES["bundle"], ids=lambda case: str(case["name"]))
def test_bundles(case: dict[str, Any], tmp_path: Path) -> None:
    path, report = tmp_path / "x.bundle", one_file.Report()
    path.write_text(case["bundle"], encoding="utf-8")
    one_file.verify(report, path, None, one_file.parse_trust(case["vkeys"]))
    assert next((code for code, _ in report.found), None) == case["error"], report.facts


@pytest.mark.parametrize("case", CASES["signature"], ids=lambda case: str(case["name"]))
def test_signatures(case: dict[str, Any]) -> None:
    entry = {
        "hsm_signature": case["hsm_signature"],
        "signature_algorithm": case["algorithm"],
        "entry_hash": case["entry_hash"],
    }
    try:
        key = one_file.load_key(case["public_key"])
        if case["algorithm"].removesuffix("+BATCH") != key.algorithm:
            raise one_file.Wrong("another algorithm")
        signature = one_file.parse_signature(entry)
        key.verify(signature.value, one_file.signed_message(signature, entry))
    except one_file.Malformed:
        assert case["error"] == "malformed.signature"
    except one_file.Wrong:
        assert case["error"]
    else:
        assert (case["error"], key.id) == (None, case["key_id"])


@pytest.mark.parametrize("case", CASES["merkle"], ids=lambda case: str(case["name"]))
def test_the_tree(case: dict[str, Any]) -> None:
    hashes = {name: bytes.fromhex(case[name]) for name in case if name in {"root", "old_root", "leaf_hash"}}
    path = one_file.split_hashes(bytes.fromhex(case.get("path") or case.get("proof") or ""))
    try:
        if "index" in case:
            if one_file.climb(hashes["leaf_hash"], case["index"], case["size"], path) != hashes["root"]:
                raise one_file.Wrong("another root")
        elif "old_size" in case:
            one_file.check_consistency(
                case["old_size"], case["size"], hashes["old_root"], hashes["root"], path
            )
        else:
            assert "root" in case
    except one_file.Wrong:
        assert case["error"]
    else:
        assert case["error"] is None


@pytest.mark.parametrize("name", ["checkpoint", "cosignature"])
def test_checkpoints(name: str) -> None:
    for case in CASES[name]:
        try:
            vkeys = [one_file.parse_vkey(text) for text in case["vkeys"]]
            found = one_file.open_checkpoint(case["note"].encode(), vkeys)
        except one_file.Malformed:
            assert case["error"] in {"malformed.note", "malformed.checkpoint"}, case["name"]
        except one_file.Wrong:
            assert case["error"] == "verification.signature", case["name"]
        else:
            assert case["error"] == (None if found.signers else "verification.trust"), case["name"]


@pytest.mark.parametrize("case", [*CASES["proof"], *CASES["consistency"]], ids=lambda case: str(case["name"]))
def test_proofs(case: dict[str, Any], tmp_path: Path) -> None:
    policy = parse_trust_policy(case["policy"].encode())
    if policy.witnesses:
        return  # a quorum of witnesses is not judged by the one file
    path = tmp_path / "x.tlog-proof"
    path.write_text(case["proof"], newline="")
    trust = [line.split(" ")[1] for line in case["policy"].splitlines() if line.startswith("log ")]
    for number, pem in enumerate(case.get("entry_keys", [])):
        (tmp_path / f"{number}.pem").write_text(pem)
        trust.append(str(tmp_path / f"{number}.pem"))
    expected = judge_proof(path, trust=trust).verdict
    assert verdict(path, *trust) == expected
    assert (expected == Verdict.VERIFIED) == (case["error"] is None)


@pytest.mark.parametrize("case", CASES["log"], ids=lambda case: str(case["name"]))
def test_logs(case: dict[str, Any], tmp_path: Path) -> None:
    lay_out(tmp_path / "log", case)
    expected = full_verdict(tmp_path / "log")
    if expected is not None:
        assert verdict(tmp_path / "log") == expected


@pytest.mark.parametrize("case", CASES["rotation"], ids=lambda case: str(case["name"]))
def test_rotations(case: dict[str, Any]) -> None:
    report = one_file.Report()
    rules, _ = one_file.read_genesis(case["lines"][0].encode())
    walk = one_file.Walk(report, rules, -1)
    for line in case["lines"]:
        walk.add(line.encode(), is_complete=True)
    assert report.verdict == ("TAMPERED" if case["error"] else "VERIFIED")
    if case["error"] is None:
        assert sorted(rules.keys) == sorted(case["key_ids"])
        found = {key_id: [term.start, term.stop, term.trusted] for key_id, term in rules.terms.items()}
        assert found == case["terms"]


@pytest.mark.parametrize(
    "case", [case for case in CASES["rules"] if "lines" in case], ids=lambda case: str(case["name"])
)
def test_rules(case: dict[str, Any]) -> None:
    """What is wrong with pointers is seen here too, unless it is that a change was not allowed."""
    report = one_file.Report()
    rules, _ = one_file.read_genesis(case["lines"][0].encode())
    walk = one_file.Walk(report, rules, -1)
    for line in case["lines"]:
        if line is None:
            walk.lose()
        else:
            walk.add(line.encode(), is_complete=True)
    walk.finish(0)
    walk.erasures.settle(line.encode() for line in case["lines"] if line is not None)
    found = {code for code, _ in case["findings"]}
    if "elsewhere" in case:
        expected = "UNKNOWN"  # it does not look elsewhere
    elif found & {"entry.rules", "erasure.refused"}:
        expected = "TAMPERED"
    else:
        expected = "UNKNOWN" if found else "VERIFIED"
    if case["name"] == "of a change that does not hold":
        expected = "VERIFIED"  # its payload is no policy, which is not judged here
    if case["name"] == "after a change that does not hold":
        expected = "TAMPERED"  # as the full verifier says of the change; here it is the pointer after it
    assert report.verdict == expected
    if expected == "VERIFIED" and not found:
        assert {"rules": walk.due[one_file.RULES], "holds": walk.due[one_file.HOLDS]} == case["pointers"]


@pytest.mark.parametrize(
    "case", [case for case in CASES["erasure"] if "findings" in case], ids=lambda case: str(case["name"])
)
def test_erasures_of_many(case: dict[str, Any]) -> None:
    """All of it, but for what the rules keep."""
    report = one_file.Report()
    rules, _ = one_file.read_genesis(case["lines"][0].encode())
    walk = one_file.Walk(report, rules, -1)
    for line in case["lines"]:
        walk.add(line.encode(), is_complete=True)
    walk.finish(0)
    walk.erasures.settle(line.encode() for line in case["lines"])
    expected = {(code, number) for code, number in case["findings"] if code not in NOT_JUDGED}
    assert {item for item in report.found if item[0] not in NOT_JUDGED} == expected


@pytest.mark.parametrize("status", list(ExecutionStatus))
@pytest.mark.parametrize("event_type", list(EventType))
def test_only_what_acts_is_more_than_a_record(
    tmp_path: Path, event_type: EventType, status: ExecutionStatus
) -> None:
    """Each of the log's names, and one that is not known: with a payload that no change may have."""
    does_act = (event_type, status) == (EventType.CHANGE, ExecutionStatus.SUCCESS)
    for name in sorted({*KNOWN, GENESIS, "attestlog.set_colour"}):
        made = LogMaker(tmp_path / name)
        made.append(draft(1, action_type=name, event_type=event_type, execution_status=status))
        made.append(draft(2))
        made.lay_out()
        expected = "VERIFIED"
        if does_act and name in GOVERNING | ERASING:
            expected = "TAMPERED"
        elif does_act and name not in KNOWN:
            expected = "UNKNOWN"
        report = judge_log(made.root, remember=False, workers=1)
        assert report.verdict == expected, (name, report.findings)
        assert verdict(made.root) == expected, name


@pytest.mark.parametrize("case", CASES["genesis"], ids=lambda case: str(case["name"]))
def test_genesis_entries(case: dict[str, Any]) -> None:
    stored = json.loads(next(item["line"] for item in CASES["entry"] if item["name"] == "shape BOOT"))
    stored |= {"action_type": "attestlog.genesis", "action_payload": case["payload"]}
    try:
        rules, _ = one_file.read_genesis(json.dumps(stored).encode())
    except one_file.Malformed:
        assert case["error"] == "malformed.entry"
        return
    except one_file.Newer:
        assert case["error"] == "newer_format"
        return
    if case["error"] is None:
        assert (rules.origin, list(rules.keys)) == (case["origin"], case["key_ids"])
    else:
        assert "policy" in case["name"] or "software" in case["name"], "which the one file does not judge"


# --- damaged logs ---


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    """31 entries in three segments: batches, entries signed alone, two rotations, erasures of 1 and 4."""
    made = LogMaker(tmp_path_factory.mktemp("one") / "log", segment_entries=12)
    made.append(*drafts(range(1, 11)))
    erasure = format_erasure(Erasure.of(decode_line(made.lines[5]), "asked for", None))
    made.append(draft(11, event_type="CHANGE", action_type="attestlog.erase_payload", action_payload=erasure))
    made.append(*drafts(range(12, 17)))
    say_range_erased(made, 12, 16)
    made.rotate(Key(5))
    made.append(*drafts(range(19, 21)), batched=False)
    made.rotate(Key(6, "Ed25519"))
    made.append(*drafts(range(22, 31)))
    for number in (5, *range(12, 16)):
        made.lines[number] = erase_line(made.lines[number])
    assert len(made.lines) == 31
    made.lay_out()
    return made


def test_a_whole_log_is_verified_by_both(log: LogMaker) -> None:
    (key,) = log.genesis.entry_keys
    genesis_hash = log.entry(0)["entry_hash"]
    for trust in ([], [key], [genesis_hash], [log.checkpoint_key.vkey], [key, "0" * 64]):
        assert verdict(log.root, *trust) == full_verdict(log.root, *trust) == "VERIFIED"
    stranger = CheckpointKey(9).vkey
    assert verdict(log.root, stranger) == full_verdict(log.root, stranger) == "FORKED"


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(DAMAGE)
def test_damaged_lines(log: LogMaker, damage: list[tuple[str, int]]) -> None:
    whole = log.lines
    log.lines = damaged(whole, damage)
    try:
        log.write_entries()
        expected = full_verdict(log.root)
        assert expected is None or verdict(log.root) == expected
    finally:
        log.lines = whole
        log.write_entries()


@pytest.mark.parametrize("seed", range(3))
def test_changed_bytes_cut_files_and_missing_ones(log: LogMaker, seed: int) -> None:
    chance = random.Random(seed)
    paths = [path for path in sorted(log.root.rglob("*")) if path.is_file() and path.name != "lock"]
    for path in paths:
        data = path.read_bytes()
        for _ in range(6):
            mutant = bytearray(data)
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    mutant[at] ^= 1 << chance.randrange(8)
                case 1:
                    del mutant[at:]
                case 2:
                    mutant[at:at] = bytes(chance.choice([b"0", b"\n", b"\xff", b'"', b"{}\n"]))
                case _:
                    del mutant[at : at + chance.randrange(1, 400)]
            path.write_bytes(mutant)
            try:
                expected = full_verdict(log.root)
                assert expected is None or verdict(log.root) == expected, (path.name, at)
            finally:
                path.write_bytes(data)
        path.unlink()
        try:
            assert verdict(log.root) == full_verdict(log.root), path.name
        finally:
            path.write_bytes(data)


@pytest.mark.parametrize("size", [0, 1, 5, 20, 30, 31])
def test_cut_with_tree_and_checkpoint_as_they_were_or_not(log: LogMaker, size: int, tmp_path: Path) -> None:
    for tree, checkpoint in ((31, 31), (size, 31), (31, size), (size, size)):
        made = LogMaker(tmp_path / f"{tree}-{checkpoint}", segment_entries=12)
        made.lines, whole = log.lines, log.lines
        made.checkpoint_key, made.settings = log.checkpoint_key, log.settings
        made.write_tree(tree)
        if checkpoint:
            made.write_checkpoint(checkpoint)
        made.lines = whole[:size]
        made.write_entries()
        assert verdict(made.root) == full_verdict(made.root), (tree, checkpoint)


@pytest.mark.parametrize("last_trusted", [3, 6, 9])
@pytest.mark.parametrize("revoked", [0, 1])
def test_revocations_and_whom_they_leave_trusted(tmp_path: Path, last_trusted: int, revoked: int) -> None:
    keys = [Key(1), Key(2, "Ed25519"), Key(3)]
    made = LogMaker(tmp_path / "log", key=keys[0])
    made.append(*drafts(range(1, 5)))
    made.rotate(keys[1])
    made.append(*drafts(range(6, 9)))
    made.rotate(keys[2])
    made.append(draft(10))
    made.append(revocation(keys[revoked], last_trusted))
    made.append(*drafts(range(12, 14)))
    made.lay_out()
    verdicts = set()
    for trust in ([], *([key.public.key_id] for key in (*keys, Key(9)))):
        expected = full_verdict(made.root, *trust)
        assert verdict(made.root, *trust) == expected, trust
        verdicts.add(expected)
    assert verdicts & {"FORKED", "TAMPERED"}


@pytest.mark.parametrize("rotated", [False, True])
def test_a_segment_that_is_elsewhere(tmp_path: Path, rotated: bool) -> None:
    """Archived, and not to be reached now: a link that leads nowhere. Who signs later, it may have said."""
    made = LogMaker(tmp_path / "log", segment_entries=3)
    for number in range(1, 5):
        made.append(draft(number))
    if rotated:
        made.rotate(Key(5))
    for number in range(len(made.lines), 9):
        made.append(draft(number))
    made.lay_out()
    made.segment(3).rename(tmp_path / "away.jsonl")
    made.segment(3).symlink_to(tmp_path / "gone.jsonl")
    assert verdict(made.root) == full_verdict(made.root) == "UNKNOWN"
    last = made.segment(6).read_bytes()
    made.segment(6).write_bytes(last.replace(b'"number":7', b'"number":6'))
    assert verdict(made.root) == full_verdict(made.root) == "TAMPERED"
    made.segment(6).write_bytes(last)
    made.segment(3).unlink()
    made.segment(3).symlink_to(tmp_path / "away.jsonl")
    assert verdict(made.root) == full_verdict(made.root) == "VERIFIED"


# --- exports, and as a program ---


def test_an_exported_log(log: LogMaker, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in log.lines))
    checkpoint = log.root / "checkpoint"
    (key,) = log.genesis.entry_keys
    assert verdict(path, key) == "VERIFIED"
    assert verdict(path, log.checkpoint_key.vkey, checkpoint=checkpoint) == "VERIFIED"
    assert verdict(path, log.checkpoint_key.vkey) == "FORKED"
    path.write_bytes(b"".join(line + b"\n" for line in log.lines[:20]))
    assert verdict(path, key) == "VERIFIED"
    assert verdict(path, key, checkpoint=checkpoint) == "TRUNCATED"
    path.write_bytes(b"".join(line + b"\n" for line in log.lines).replace(b'"number":20', b'"number":21'))
    assert verdict(path, key) == "TAMPERED"


def test_as_a_program_in_an_empty_folder(log: LogMaker, tmp_path: Path) -> None:
    copy = tmp_path / "verify.py"
    copy.write_bytes(SCRIPT.read_bytes())

    def run(*arguments: object) -> tuple[int, str]:
        command = [sys.executable, "-I", str(copy), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
        return done.returncode, done.stdout

    code, out = run(log.root, "--trust", log.checkpoint_key.vkey)
    assert (code, out.splitlines()[0]) == (0, "VERIFIED")
    assert run(tmp_path / "nothing")[0] == 4
    assert run(tmp_path)[0] == 3
    assert run(log.root, "--trust", "no such key")[0] == 2
    assert run()[0] == 2
