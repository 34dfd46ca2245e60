"""Appending: every member from options, many drafts from a pipe, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Run, lines_of, segment
from tests.support.audits import verdicts
from tests.support.logs import draft
from tests.support.schema_events import PRINTED, schema_event

from attestlog._internal.cli import drafts
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, EntryDraft
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import FullError

LEAST = ["--event-type", "ACTION", "--action-type", "deploy", "--actor-id", "agent-7"]


def last_entry(log: Path) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(segment(log).read_bytes().splitlines()[-1])
    return entry


def size(log: Path) -> int:
    return open_source(log).size()


def test_a_receipt_line_names_number_id_and_hash(run: Run, log: Path) -> None:
    result = run("append", log, *LEAST)
    assert (result.code, result.err) == (0, "")
    entry = last_entry(log)
    assert result.out.split() == [str(entry["sequence_number"]), entry["entry_id"], entry["entry_hash"]]


def test_a_receipt_in_json(run: Run, log: Path) -> None:
    receipt = run("append", log, *LEAST, "--json").object
    entry = last_entry(log)
    assert receipt == {
        "type": "receipt",
        **{name: entry[name] for name in ("sequence_number", "entry_id", "entry_hash", "timestamp")},
        "redacted": [],
    }


def test_what_was_redacted_is_said_by_the_receipt_and_on_stderr(run: Run, log: Path) -> None:
    payload = ["--payload", '{"args":{"clientSecret":"x","pins":1},"password":1}']
    result = run("append", log, *LEAST, *payload)
    number = last_entry(log)["sequence_number"]
    said = "action_payload.args.clientSecret (field), action_payload.password (field)"
    assert result.err == f"attestlog: note: entry {number}: redacted: {said}\n"
    receipt = run("append", log, *LEAST, *payload, "--json").object
    assert receipt["redacted"] == [
        {"member": "action_payload.args.clientSecret", "kind": "field"},
        {"member": "action_payload.password", "kind": "field"},
    ]


def test_every_simple_member_has_its_option(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"proposal_id": "PROP-7", "new_value": 6.5}')
    first = open_source(log).entry(1).entry_id
    result = run(
        "append", log, "--event-type", "change", "--action-type", "attestlog.modify_policy_rule",
        "--actor-id", "council",
        "--actor-type", "HUMAN", "--event-category", "CRITICAL", "--severity", "9", "--execution-status",
        "ROLLED_BACK", "--payload", f"@{tmp_path / 'payload.json'}", "--actor-context", '{"role": "auditor"}',
        "--system-state-snapshot", '{"load": 0.5}', "--environment", '{"region": "hn"}',
        "--pillars-scores", '{"an_toan": 9, "duong_dai": 8.5}', "--result-data", '{"ok": true}',
        "--error-details", '{"why": "test"}', "--provided-proofs", '[{"type": "k1_state", "valid": true}]',
        "--required-proof", "k1_state", "--required-proof", "rollback", "--required-approvals", "3",
        "--received-approvals", '[{"signer": "a", "signature": "b", "timestamp": "c"}]',
        "--dependency", first, "--conflict", "C-1", "--rollback-available",
        "--rollback-snapshot-hash", "ab" * 32, "--rollback-executed",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    entry = last_entry(log)
    environment = entry.pop("environment")
    assert environment["region"] == "hn"
    expected = {
        "event_type": "CHANGE", "action_type": "attestlog.modify_policy_rule", "actor_id": "council",
        "actor_type": "HUMAN",
        "event_category": "CRITICAL", "severity": 9, "execution_status": "ROLLED_BACK",
        "action_payload": {"proposal_id": "PROP-7", "new_value": 6.5}, "actor_context": {"role": "auditor"},
        "system_state_snapshot": {"load": 0.5}, "pillars_scores": {"an_toan": 9, "duong_dai": 8.5},
        "result_data": {"ok": True}, "error_details": {"why": "test"}, "required_approvals": 3,
        "provided_proofs": [{"type": "k1_state", "valid": True}], "required_proofs": ["k1_state", "rollback"],
        "received_approvals": [{"signer": "a", "signature": "b", "timestamp": "c"}], "dependencies": [first],
        "conflicts_detected": ["C-1"], "rollback_available": True, "rollback_snapshot_hash": "ab" * 32,
        "rollback_executed": True, "k_state": 0, "proofs_valid": False, "quorum_met": False,
    }  # fmt: skip
    assert {name: entry[name] for name in expected} == expected


def test_every_member_a_caller_may_give_has_an_option() -> None:
    from attestlog._internal.cli import append

    derived = {
        "action_hash", "composite_score", "safety_floor_met", "k_state", "proofs_valid", "quorum_met",
        "attribution", "schema_version",
    }  # fmt: skip
    options = set(append.append.__annotations__)
    assert set(EntryDraft.__struct_fields__) - derived <= options
    assert options >= drafts.JSON_MEMBERS


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--event-type", "ACTION"], "action_type: is missing"),
        (["--event-type", "PARTY", *LEAST[2:]], "PARTY"),
        ([*LEAST, "--severity", "11"], "severity: expected `int` <= 10"),
        ([*LEAST, "--payload", "{"], "action_payload: not JSON"),
        ([*LEAST, "--payload", '{"a":1,"a":2}'], "action_payload: member 'a' appears twice"),
        ([*LEAST, "--payload", '{"a":NaN}'], "action_payload: NaN is not a JSON number"),
        ([*LEAST, "--payload", '{"a":9007199254740993}'], "beyond 2^53-1"),
        ([*LEAST, "--payload", "[1]"], "action_payload: expected `object`"),
        ([*LEAST, "--pillars-scores", '{"speed": 1}'], "pillars_scores"),
        ([*LEAST, "--dependency", "nobody"], "dependencies[0]"),
        ([*LEAST, "--rollback-snapshot-hash", "xyz"], "rollback_snapshot_hash"),
        ([*LEAST, "--provided-proofs", '[{"type": "hash"}]'], "provided_proofs[0].valid"),
    ],
)
def test_a_bad_option_names_the_member_and_appends_nothing(
    run: Run, log: Path, arguments: list[str], said: str
) -> None:
    result = run("append", log, *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert "attestlog append --help" in result.err
    assert size(log) == 4


def test_a_payload_file_that_is_not_there_is_unknown(run: Run, log: Path) -> None:
    result = run("append", log, *LEAST, "--payload", "@nowhere.json")
    assert result.code == 4
    assert "nowhere.json" in result.err


def test_severity_zero_is_a_severity(run: Run, log: Path) -> None:
    assert run("append", log, *LEAST, "--severity", "0").code == 0
    assert last_entry(log)["severity"] == 0


def test_a_payload_can_come_from_stdin(shell: Run, log: Path) -> None:
    result = shell("append", log, *LEAST, "--payload", "-", stdin=b'{"from": "a pipe"}')
    assert (result.code, result.err) == (0, "")
    assert last_entry(log)["action_payload"] == {"from": "a pipe"}


def test_lines_from_a_pipe_become_entries_in_order(shell: Run, log: Path) -> None:
    drafts_given = [draft(number) for number in range(5_000)]
    result = shell("append", log, "-", "--json", stdin=lines_of(*drafts_given))
    assert (result.code, result.err) == (0, "")
    receipts = result.objects
    assert [receipt["sequence_number"] for receipt in receipts] == list(range(4, 5_004))
    entries = list(open_source(log).entries(4))
    assert [entry.action_payload for entry in entries] == [item["action_payload"] for item in drafts_given]
    assert [entry.entry_hash for entry in entries] == [receipt["entry_hash"] for receipt in receipts]
    assert shell("verify", log).code == 0


def test_lines_can_come_from_a_file_with_blank_lines_and_without_last_line_end(
    run: Run, log: Path, tmp_path: Path
) -> None:
    path = tmp_path / "drafts.jsonl"
    path.write_bytes(b"\n" + lines_of(draft(1), draft(2)).replace(b"\n", b"\r\n\n").rstrip())
    result = run("append", log, path)
    assert (result.code, len(result.out.splitlines())) == (0, 2)
    assert size(log) == 6


def test_nothing_from_nothing(shell: Run, log: Path) -> None:
    result = shell("append", log, "-")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert size(log) == 4


@pytest.mark.parametrize(
    "bad, said",
    [
        (b'{"event_type":"ACTION"}', "line 3: draft: action_type: is missing"),
        (b'{"a":1,"a":2}', "line 3: member 'a' appears twice"),
        (json.dumps(draft(3, severity=99)).encode(), "line 3: draft: severity"),
        (
            json.dumps(draft(3, entry_hash="0" * 64)).encode(),
            "line 3: draft: entry_hash: is assigned by the log",
        ),
        (b"[1]", "line 3: draft: expected an object, got list"),
        (b'{"event_type":', "line 3: not JSON"),
        (b"\xff\xfe", "line 3: byte 0 is not UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_what_stands_before_it_is_appended(
    shell: Run, log: Path, bad: bytes, said: str
) -> None:
    result = shell("append", log, "-", stdin=lines_of(draft(1), draft(2)) + bad + b"\n" + lines_of(draft(4)))
    assert (result.code, len(result.out.splitlines())) == (2, 2)
    assert "attestlog: note: 2 entries were appended before this" in result.err
    assert said in result.err
    assert size(log) == 4 + 2
    assert last_entry(log)["action_payload"] == draft(2)["action_payload"]


@pytest.mark.parametrize("good", [1, drafts.CHUNK_DRAFTS_MAX - 1, drafts.CHUNK_DRAFTS_MAX + 500])
@pytest.mark.parametrize("bad", [b"{}", b"[1]"])
def test_every_line_before_a_bad_one_is_appended_wherever_chunks_end(
    shell: Run, log: Path, good: int, bad: bytes
) -> None:
    result = shell("append", log, "-", stdin=lines_of(*map(draft, range(good))) + bad + b"\n")
    assert (result.code, len(result.out.splitlines())) == (2, good)
    assert f"{good} entries were appended before this" in result.err
    assert f"line {good + 1}: " in result.err
    assert size(log) == 4 + good


def test_a_member_stated_wrongly_is_the_callers_mistake(shell: Run, log: Path) -> None:
    result = shell("append", log, "-", stdin=lines_of(draft(1), draft(2, k_state=0)))
    assert result.code == 2
    assert "line 2: k_state is stated as 0, derived as 1" in result.err
    assert size(log) == 4 + 1


def test_what_is_too_large_names_the_limit(shell: Run, log: Path) -> None:
    result = shell("append", log, "-", stdin=lines_of(draft(1, actor_context={"text": "x" * 70_000})))
    assert result.code == 2
    assert "line 1: " in result.err
    assert "at most 65535 fit" in result.err
    assert size(log) == 4


def test_one_entry_or_many_not_both(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "drafts").write_bytes(lines_of(draft(1)))
    for option in (["--actor-id", "x"], ["--rollback-available"], ["--conflict", "C-1"]):
        result = run("append", log, tmp_path / "drafts", *option)
        assert (result.code, result.out) == (2, "")
        assert "use one of: options" in result.err
    assert size(log) == 4


def test_bytes_in_argv_that_are_no_text_are_refused(run: Run, log: Path) -> None:
    result = run("append", log, *LEAST[:-1], "\udcff", "--json")
    assert (result.code, result.out) == (2, "")
    assert "actor_id" in result.error["message"]
    assert size(log) == 4


def test_a_line_without_end_is_not_read_for_ever(shell: Run, log: Path, tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(LINE_SIZE_MAX_BYTES + (2 << 20))
    result = shell("append", log, tmp_path / "long")
    assert result.code == 2
    assert "line 1: has more than" in result.err


def test_a_torn_tail_is_set_aside_and_said_on_stderr(run: Run, log: Path) -> None:
    with segment(log).open("ab") as file:
        file.write(b'{"action_hash":"')
    result = run("append", log, *LEAST, "--json")
    assert result.code == 0
    assert result.object["sequence_number"] == 4
    assert "attestlog: note: recovered: 16 bytes set aside in" in result.err
    assert run("verify", log).code == 0


def test_a_damaged_log_is_not_written_to(run: Run, log: Path) -> None:
    damaged = segment(log).read_bytes()[:-3]
    segment(log).write_bytes(damaged)
    result = run("append", log, *LEAST)
    assert (result.code, result.out) == (5, "")
    assert "attestlog repair LOG" in result.err
    assert segment(log).read_bytes() == damaged


def test_another_signer_than_the_logs_is_refused(run: Run, log: Path, tmp_path: Path) -> None:
    run("keys", "generate", tmp_path / "k.pem")
    result = run("append", log, *LEAST, "--signer", f"file:{tmp_path / 'k.pem'}")
    assert (result.code, result.out) == (4, "")
    assert "the log is signed by" in result.err
    assert size(log) == 4


def test_failing_to_close_does_not_say_that_nothing_was_written(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise FullError("writing failed: no space left")

    before = size(log)
    monkeypatch.setattr("attestlog._internal.storage.files.store.FileStore.replace_checkpoint", full)
    result = run("append", log, *LEAST)
    assert result.code == 4
    assert size(log) == before + 1
    assert result.out.split()[0] == str(before)
    assert "what was appended is stored" in result.err
    assert "nothing was written" not in result.err


def test_the_schemas_own_examples_from_a_file(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(lines_of(*map(schema_event, PRINTED)))
    before = size(log)
    assert run("append", log, tmp_path / "events.jsonl").code == 0
    assert size(log) == before + len(PRINTED)
    changed = open_source(log).entry(before + list(PRINTED).index("CHANGE"))
    assert (changed.action_type, changed.quorum_met) == ("modify_policy_rule", False)
    assert "safety_floor = 7" in run("policy", "show", log).out
    assert verdicts(log) == ("VERIFIED", "VERIFIED")

    (tmp_path / "asserted.jsonl").write_bytes(lines_of(schema_event("CHANGE", quorum_met=True)))
    refused = run("append", log, tmp_path / "asserted.jsonl")
    assert (refused.code, "line 1: quorum_met" in refused.err) == (2, True), refused.err
