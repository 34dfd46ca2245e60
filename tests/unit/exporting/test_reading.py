"""What an exported file shows by itself: good ones, each tampering, and what nobody's key vouches for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.exports import ORIGIN, erase_entry, items, made_log, written
from tests.support.logs import CheckpointKey, Key, LogMaker, draft
from tests.support.tools import extra

from attestlog._internal.core import canonical
from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.report import ExportReport, Verdict
from attestlog._internal.exporting import dsse
from attestlog._internal.exporting.contract import Exported, Form
from attestlog._internal.exporting.reading import export_form, judge_export

FORMS = [Form.JSONL, Form.PARQUET, Form.DSSE, Form.COSE]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    return made_log(tmp_path_factory.mktemp("reading") / "log", 100)


def file_of(log: LogMaker, form: Form, tmp_path: Path, entries: list[Exported] | None = None) -> Path:
    if form in {Form.PARQUET, Form.COSE}:
        extra({"parquet": "pyarrow.parquet", "cose": "cbor2"}[form])
    path = tmp_path / f"export.{form}"
    path.write_bytes(written(log, form, entries=entries))
    return path


def keys_of(log: LogMaker) -> dict[Form, str]:
    """Whose word each form rests on."""
    entry, checkpoint = log.key.public.pem, log.checkpoint_key.vkey
    return {Form.JSONL: entry, Form.PARQUET: entry, Form.DSSE: checkpoint, Form.COSE: checkpoint}


def codes(report: ExportReport) -> set[str]:
    return {found.code for found in report.findings}


@pytest.mark.parametrize("form", FORMS)
def test_a_good_file_is_verified_under_the_right_key(log: LogMaker, tmp_path: Path, form: Form) -> None:
    path = file_of(log, form, tmp_path)
    assert export_form(path) is form
    report = judge_export(path, trust=[keys_of(log)[form]])
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert (report.size, report.first, report.last) == (len(log.lines), 0, len(log.lines) - 1)
    assert report.origin == ORIGIN
    assert report.not_shown
    if form is not Form.COSE:
        assert (report.erased_payloads, report.redacted) == (1, 1)


@pytest.mark.parametrize("form", FORMS)
def test_without_a_key_nothing_is_shown(log: LogMaker, tmp_path: Path, form: Form) -> None:
    report = judge_export(file_of(log, form, tmp_path))
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"trust.none"})


@pytest.mark.parametrize("form", FORMS)
def test_a_strangers_key_vouches_for_nothing(log: LogMaker, tmp_path: Path, form: Form) -> None:
    report = judge_export(file_of(log, form, tmp_path), trust=[Key(99).public.pem])
    assert report.verdict is Verdict.FORKED
    assert codes(report) == {"trust.mismatch"}


@pytest.mark.parametrize("form", [Form.JSONL, Form.PARQUET])
def test_an_excerpt_says_that_it_is_one(log: LogMaker, tmp_path: Path, form: Form) -> None:
    some = [items(log)[number] for number in (3, 4, 9)]
    report = judge_export(file_of(log, form, tmp_path, some), trust=[log.key.public.pem])
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, {"export.gaps"})
    assert not report.is_consecutive
    assert any("between the entries" in what for what in report.not_shown)


def at(number: int, change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [*lines[:number], change(lines[number]), *lines[number + 1 :]]


def changed(**members: Any) -> Callable[[bytes], bytes]:
    return lambda line: canonical.encode({**json.loads(line), **members})


def other_signature(line: bytes) -> bytes:
    """One by the same key, over something else."""
    return changed(hsm_signature=Key().sign(b"something else").hex())(line)


TAMPERED: dict[str, tuple[str, Callable[[list[bytes]], list[bytes]]]] = {
    "a member": ("entry.entry_hash", at(4, changed(actor_id="mallory"))),
    "a payload": ("entry.action_hash", at(4, changed(action_payload={"x": 1}))),
    "spelling": ("entry.canonical", at(4, lambda line: line.replace(b",", b", ", 1))),
    "no entry": ("entry.malformed", at(4, lambda line: line[:50])),
    "an entry twice": ("entry.sequence", lambda lines: [*lines[:4], lines[3], *lines[4:]]),
    "two entries exchanged": ("entry.sequence", lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]]),
    "a signature": ("entry.signature", at(4, other_signature)),
    "no signature": ("entry.signature_form", at(4, changed(hsm_signature=""))),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_with_lines_is_found(log: LogMaker, tmp_path: Path, what: str) -> None:
    code, tamper = TAMPERED[what]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in tamper(log.lines)))
    report = judge_export(path, trust=[log.key.public.pem])
    assert report.verdict is Verdict.TAMPERED
    assert code in codes(report)


def test_an_entry_of_another_history_does_not_link(tmp_path: Path) -> None:
    log = made_log(tmp_path / "log")
    path = tmp_path / "x.jsonl"
    lines = list(log.lines)
    log.reseal(4, actor_id="somebody")
    lines[4] = log.lines[4]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    report = judge_export(path, trust=[log.key.public.pem])
    assert codes(report) == {"entry.chain"}


def test_a_file_from_the_start_is_confirmed_by_a_checkpoint_that_was_kept(
    log: LogMaker, tmp_path: Path
) -> None:
    path = file_of(log, Form.JSONL, tmp_path)
    note = (log.root / "checkpoint").read_bytes()
    report = judge_export(path, held=note)
    assert (report.verdict, report.checkpoint_size) == (Verdict.VERIFIED, len(log.lines))
    assert not any("at the end" in what for what in report.not_shown)
    other = sign_checkpoint(
        Checkpoint(ORIGIN, len(log.lines), bytes(32)),
        [(log.checkpoint_key.verifier, log.checkpoint_key.sign)],
    )
    assert codes(judge_export(path, held=other)) >= {"held.root"}
    part = file_of(log, Form.JSONL, tmp_path, items(log)[:-1])
    report = judge_export(part, held=note)
    assert (report.verdict, "export.held" in codes(report)) == (Verdict.UNKNOWN, True)


def test_entries_cut_off_the_end_are_not_covered(log: LogMaker, tmp_path: Path) -> None:
    """As with any excerpt, a key that signed the entries cannot show it; the report says so."""
    report = judge_export(file_of(log, Form.JSONL, tmp_path, items(log)[:-3]), trust=[log.key.public.pem])
    assert report.verdict is Verdict.VERIFIED
    assert any("at the end" in what for what in report.not_shown)


def test_a_checkpoint_key_alone_says_nothing_of_lines_without_a_checkpoint(
    log: LogMaker, tmp_path: Path
) -> None:
    report = judge_export(file_of(log, Form.JSONL, tmp_path), trust=[log.checkpoint_key.vkey])
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"export.key_unknown"})


def test_of_an_excerpt_it_cannot_be_told_whose_the_checkpoint_key_is(log: LogMaker, tmp_path: Path) -> None:
    report = judge_export(file_of(log, Form.JSONL, tmp_path, items(log)[1:]), trust=[log.checkpoint_key.vkey])
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"export.key_unknown"})


def test_a_checkpoint_key_that_the_genesis_does_not_name_is_of_another_log(
    log: LogMaker, tmp_path: Path
) -> None:
    other = CheckpointKey(9, ORIGIN).vkey
    report = judge_export(file_of(log, Form.JSONL, tmp_path), trust=[other])
    assert (report.verdict, codes(report)) == (Verdict.FORKED, {"trust.mismatch"})


@pytest.mark.parametrize("what", ["a member", "a payload", "spelling"])
def test_what_was_tampered_with_leads_to_no_root(log: LogMaker, tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in TAMPERED[what][1](log.lines)))
    report = judge_export(path, held=(log.root / "checkpoint").read_bytes())
    assert (report.verdict, report.checkpoint_size, report.trusted_by) == (Verdict.TAMPERED, None, [])


def test_a_genesis_hash_vouches_for_the_keys_in_it(log: LogMaker, tmp_path: Path) -> None:
    whole = file_of(log, Form.JSONL, tmp_path)
    genesis = items(log)[0].entry.entry_hash
    report = judge_export(whole, trust=[genesis])
    assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [genesis])
    part = file_of(log, Form.JSONL, tmp_path, items(log)[1:])
    assert judge_export(part, trust=[genesis]).verdict is Verdict.FORKED


def test_keys_are_followed_over_a_rotation(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", origin=ORIGIN)
    log.append(draft(1))
    log.rotate(Key(2))
    log.append(draft(2))
    log.lay_out()
    path = file_of(log, Form.JSONL, tmp_path)
    assert judge_export(path, trust=[Key(1).public.pem]).verdict is Verdict.VERIFIED
    part = file_of(log, Form.JSONL, tmp_path, items(log)[1:])
    report = judge_export(part, trust=[Key(1).public.pem])
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"export.key_unknown"})
    both = judge_export(part, trust=[Key(1).public.pem, Key(2).public.pem])
    assert both.verdict is Verdict.VERIFIED


def test_a_later_key_alone_does_not_vouch_for_what_others_signed(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", origin=ORIGIN)
    log.append(draft(1))
    log.rotate(Key(2))
    log.append(draft(2))
    log.lay_out()
    report = judge_export(file_of(log, Form.JSONL, tmp_path), trust=[Key(2).public.pem])
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"export.key_unknown"})
    assert "3 of 4 are signed by keys that were not given" in report.findings[0].message


def test_a_checkpoint_of_all_but_the_last_entry_leaves_the_end_open(tmp_path: Path) -> None:
    log = made_log(tmp_path / "log")
    note = (log.root / "checkpoint").read_bytes()
    log.append(draft(1))
    log.lay_out()
    report = judge_export(file_of(log, Form.JSONL, tmp_path), held=note)
    assert (report.verdict, report.checkpoint_size) == (Verdict.VERIFIED, len(log.lines) - 1)
    assert any("at the end" in what for what in report.not_shown)


def test_a_genesis_that_names_somebody_elses_key_is_not_vouched_for_by_it(tmp_path: Path) -> None:
    """Whoever writes a genesis entry may name any key in it: only one that signed it counts."""
    forged = made_log(tmp_path / "log")
    path = file_of(forged, Form.JSONL, tmp_path)
    assert judge_export(path, trust=[Key(2).public.key_id]).verdict is Verdict.FORKED


# --- Parquet ---


def rewritten(path: Path, column: str, change: Callable[[list[Any]], list[Any]]) -> None:
    parquet = extra("pyarrow.parquet")
    table = parquet.read_table(path)
    place = table.column_names.index(column)
    new = type(table).from_pydict({column: change(table[column].to_pylist())}, schema=None)
    cast = new[column].cast(table.schema.field(column).type)
    parquet.write_table(table.set_column(place, table.schema.field(column), cast), path)


@pytest.mark.parametrize(
    "column, value",
    [("actor_id", "mallory"), ("composite_score", 9.9), ("action_payload", "{}"), ("content", "x")],
)
def test_a_column_that_says_something_else_is_found(
    log: LogMaker, tmp_path: Path, column: str, value: object
) -> None:
    path = file_of(log, Form.PARQUET, tmp_path)
    rewritten(path, column, lambda cells: [value, *cells[1:]])
    report = judge_export(path, trust=[log.key.public.pem])
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, {"export.column"})


def test_statistics_that_would_hide_rows_are_found(log: LogMaker, tmp_path: Path) -> None:
    """DuckDB passes over row groups by them: a row would be there, verified, and never be found."""
    path = file_of(log, Form.PARQUET, tmp_path)
    data = path.read_bytes()
    names = sorted({item.entry.actor_id.encode() for item in items(log)})
    forged = data.replace(names[-1], b"a" * len(names[-1]))  # in the footer, and where it is not compressed
    assert forged != data
    path.write_bytes(forged)
    report = judge_export(path, trust=[log.key.public.pem])
    assert report.verdict is Verdict.TAMPERED
    assert any("statistics" in found.message for found in report.findings)


def test_a_parquet_file_brings_the_logs_checkpoint(log: LogMaker, tmp_path: Path) -> None:
    path = file_of(log, Form.PARQUET, tmp_path)
    report = judge_export(path, trust=[log.checkpoint_key.vkey])
    assert (report.verdict, report.checkpoint_size) == (Verdict.VERIFIED, len(log.lines))
    rewritten(path, "line", lambda lines: [*lines[:-1], changed(actor_id="x")(lines[-1].encode()).decode()])
    assert judge_export(path, trust=[log.checkpoint_key.vkey]).verdict is Verdict.TAMPERED


def test_an_export_of_other_entries_than_its_checkpoint_signed(tmp_path: Path) -> None:
    """The key holder made two histories: the entries hold together, and the checkpoint is of others."""
    log = made_log(tmp_path / "log")
    path = file_of(log, Form.PARQUET, tmp_path)
    other = LogMaker(tmp_path / "other", origin=ORIGIN, first_id=5)
    other.append(*[draft(number) for number in range(len(log.lines) - 1)])
    rewritten(path, "line", lambda lines: [line.decode() for line in other.lines])
    assert "checkpoint.root" in codes(judge_export(path, trust=[log.checkpoint_key.vkey]))


@pytest.mark.parametrize("data", [b"PAR1", b"PAR1" + bytes(100), b"PAR1 and PAR1"])
def test_what_only_begins_like_parquet_is_malformed(tmp_path: Path, data: bytes) -> None:
    extra("pyarrow.parquet")
    (tmp_path / "x").write_bytes(data)
    report = judge_export(tmp_path / "x")
    assert (report.verdict, codes(report)) == (Verdict.MALFORMED, {"export.malformed"})


def test_a_damaged_parquet_file_is_malformed_and_not_unread(log: LogMaker, tmp_path: Path) -> None:
    path = file_of(log, Form.PARQUET, tmp_path)
    good = path.read_bytes()
    for data in (good[:-20], good[: len(good) // 2], good[:2_000] + bytes(300) + good[2_300:]):
        path.write_bytes(data)
        report = judge_export(path, trust=[log.key.public.pem])
        assert (report.verdict, codes(report)) == (Verdict.MALFORMED, {"export.malformed"})


# --- statements ---


def reenveloped(line: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The statement changed, under the signature that it had."""
    signed = dsse.parse_envelope(line)
    statement = json.loads(signed.payload)
    change(statement)
    ((key_id, signature),) = signed.signatures
    return dsse.envelope(canonical.encode(statement), key_id, signature)


STATEMENTS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "the digest": ("export.subject", lambda said: said["subject"][0]["digest"].update(sha256="0" * 64)),
    "the name": ("export.subject", lambda said: said["subject"][0].update(name="example.com/other#4")),
    "the entry": ("entry.entry_hash", lambda said: said["predicate"].update(actor_id="mallory")),
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_a_statement_that_was_changed_is_found(log: LogMaker, tmp_path: Path, what: str) -> None:
    code, change = STATEMENTS[what]
    path = file_of(log, Form.DSSE, tmp_path)
    lines = path.read_bytes().splitlines()
    lines[4] = reenveloped(lines[4], change)
    path.write_bytes(b"\n".join([*lines, b""]))
    report = judge_export(path, trust=[log.checkpoint_key.vkey])
    assert report.verdict is Verdict.TAMPERED
    assert codes(report) >= {code, "export.signature"}


@pytest.mark.parametrize("line", [b"{}", b"", b"null", b'{"payload":"","payloadType":"x","signatures":[]}'])
def test_a_line_that_is_no_statement_is_malformed(log: LogMaker, tmp_path: Path, line: bytes) -> None:
    path = file_of(log, Form.DSSE, tmp_path)
    path.write_bytes(path.read_bytes() + line + b"\n")
    report = judge_export(path, trust=[log.checkpoint_key.vkey])
    assert report.verdict is Verdict.MALFORMED


def test_an_unsigned_statement_is_nobodys(log: LogMaker, tmp_path: Path) -> None:
    path = file_of(log, Form.DSSE, tmp_path)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[3]["signatures"] = []
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    report = judge_export(path, trust=[log.checkpoint_key.vkey])
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"export.key_unknown"})


# --- receipts ---


def test_receipts_are_compared_with_their_entries(log: LogMaker, tmp_path: Path) -> None:
    path = file_of(log, Form.COSE, tmp_path)
    entries = file_of(log, Form.JSONL, tmp_path)
    report = judge_export(path, trust=[log.checkpoint_key.vkey], entry_file=entries)
    assert report.verdict is Verdict.VERIFIED
    assert not any("--entry" in what for what in report.not_shown)
    log_of_others = LogMaker(tmp_path / "others", origin=ORIGIN)
    log_of_others.append(draft(1))
    (tmp_path / "others.jsonl").write_bytes(b"\n".join([*log_of_others.lines, b""]))
    report = judge_export(path, trust=[log.checkpoint_key.vkey], entry_file=tmp_path / "others.jsonl")
    assert codes(report) == {"export.subject", "export.entry"}
    report = judge_export(path, trust=[log.checkpoint_key.vkey], entry_file=tmp_path / "nothing.jsonl")
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"export.unreadable"})


@pytest.mark.parametrize("place", [-1, -40, 300])
def test_a_receipt_that_was_changed_is_found(log: LogMaker, tmp_path: Path, place: int) -> None:
    path = file_of(log, Form.COSE, tmp_path, items(log)[5:6])
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    report = judge_export(path, trust=[log.checkpoint_key.vkey])
    assert report.verdict in {Verdict.TAMPERED, Verdict.MALFORMED}


def test_a_receipt_of_another_log_under_the_same_key_is_found(log: LogMaker, tmp_path: Path) -> None:
    path = file_of(log, Form.COSE, tmp_path)
    other = LogMaker(tmp_path / "other", origin="example.com/other").checkpoint_key.vkey
    report = judge_export(path, trust=[other])
    assert report.verdict is Verdict.TAMPERED
    assert "export.subject" in codes(report)


@pytest.mark.parametrize(
    "data", [b"\xd2", b"\xd2\x80", b"\xd2\x84\x40\xa0\xf6\x40", b"\xd2" + b"\x9f" * 2000]
)
def test_what_only_begins_like_a_receipt_is_malformed(tmp_path: Path, data: bytes) -> None:
    extra("cbor2")
    (tmp_path / "x").write_bytes(data)
    assert judge_export(tmp_path / "x").verdict is Verdict.MALFORMED


# --- what is no export ---


@pytest.mark.parametrize("data", [b"", b"{", b"{}\n", b"[1]\n", b"\xff\xfe", b'{"sequence_number":1}\n'])
def test_other_files_are_no_exports(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert export_form(tmp_path / "x") is None
    assert export_form(tmp_path) is None
    assert export_form(tmp_path / "nothing") is None


def test_what_is_no_export_is_malformed_whoever_asks(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello\n")
    report = judge_export(tmp_path / "x")
    assert (report.verdict, codes(report)) == (Verdict.MALFORMED, {"export.malformed"})


def test_a_file_that_ends_too_early_is_not_called_tampered_with(log: LogMaker, tmp_path: Path) -> None:
    path = file_of(log, Form.JSONL, tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    report = judge_export(path, trust=[log.key.public.pem])
    assert (report.verdict, codes(report)) == (Verdict.INCOMPLETE, {"export.torn"})
    path.write_bytes(b"".join(line + b"\n" for line in log.lines)[:-1])
    assert judge_export(path, trust=[log.key.public.pem]).verdict is Verdict.VERIFIED


def test_a_redacted_and_an_erased_payload_are_counted(tmp_path: Path) -> None:
    log = made_log(tmp_path / "log", erase=False)
    erase_entry(log, 8)  # it holds a redacted value as well
    log.lay_out()
    report = judge_export(file_of(log, Form.JSONL, tmp_path), trust=[log.key.public.pem])
    assert (report.verdict, report.erased_payloads, report.redacted) == (Verdict.VERIFIED, 1, 0)
