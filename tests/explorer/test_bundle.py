"""Bundles: what is in one, what a changed one shows; Python and the browser find the same."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.logs import CheckpointKey, Key, LogMaker, draft

from attestlog._internal.core.bundle import (
    TIMESTAMPS_MAX,
    Item,
    format_header,
    format_item,
    parse_header,
    parse_item,
)
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.report import ExportReport, Verdict
from attestlog._internal.explorer.bundling import Bundling, check_found
from attestlog._internal.exporting.choosing import ALL, Choice
from attestlog._internal.query.filter import parse_filter
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying.bundle import is_bundle_file, judge_bundle
from attestlog.errors import CorruptError, MalformedProofError, NotFoundError

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROTATED_AT = 5


def log_of(root: Path, origin: str = "example.com/agents") -> LogMaker:
    """A log of nine entries, whose key is replaced halfway: genesis, 4 in a batch, a rotation, 3 more."""
    made = LogMaker(root, origin=origin)
    made.append(
        *(
            draft(number, pillars_scores={"an_toan": 6.5}, actor_id=f"agent-{number % 2}")
            for number in range(1, 5)
        )
    )
    made.rotate(Key(2))
    made.append(*(draft(number, actor_id=f"agent-{number % 2}") for number in range(6, 9)))
    made.lay_out()
    return made


@pytest.fixture
def made_log(tmp_path: Path) -> LogMaker:
    return log_of(tmp_path / "audit")


def bundle_of(made: LogMaker, **members: Any) -> bytes:
    """A bundle of the entries that a filter asks for."""
    choice = Choice(parse_filter(members | {"newest_first": False}), 0) if members else Choice(ALL, 0)
    return b"".join(Bundling(open_source(made.root), choice).lines())


def vkey_of(made: LogMaker) -> str:
    return format_vkey(made.checkpoint_key.verifier)


def judged(tmp_path: Path, data: bytes, *trust: str) -> ExportReport:
    path = tmp_path / "x.bundle"
    path.write_bytes(data)
    return judge_bundle(path, trust=trust)


def codes(report: ExportReport) -> set[str]:
    return {finding.code for finding in report.findings if finding.verdict != Verdict.VERIFIED}


def browsed(page: "Page", data: bytes, *trust: str) -> dict[str, Any]:
    """What the page's own code finds in it."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async ([encoded, keys]) => {
            const {unbase64} = await import("/verify.mjs"), {openBundle} = await import("/bundle.mjs");
            try {
                const found = await openBundle(unbase64(encoded), keys);
                return {
                    codes: found.problems.map(one => one.error.finding), unchecked: found.unchecked,
                    trusted: found.trust !== null,
                    numbers: found.found.filter(one => one.isAsked).map(one => one.entry?.sequence_number),
                };
            } catch (error) {
                return {codes: [error.finding ?? `${error.name}: ${error.message}`], unchecked: []};
            }
        }""",
        [base64.b64encode(data).decode(), trust],
    )


def test_a_bundle_shows_its_entries_to_who_has_the_key(
    made_log: LogMaker, tmp_path: Path, blank: "Page"
) -> None:
    data, vkey = bundle_of(made_log), vkey_of(made_log)
    report = judged(tmp_path, data, vkey)
    assert (report.verdict, report.size, report.trusted_by) == (Verdict.VERIFIED, 9, [vkey])
    assert len(report.signing_keys) == 2
    assert browsed(blank, data, vkey) == {
        "codes": [],
        "unchecked": [],
        "trusted": True,
        "numbers": list(range(9)),
    }


@pytest.mark.parametrize("vouching", ["genesis", "first key"])
def test_the_genesis_hash_and_an_entry_key_vouch_too(
    made_log: LogMaker, tmp_path: Path, vouching: str
) -> None:
    entry = json.loads(made_log.lines[0])
    trusted = entry["entry_hash"] if vouching == "genesis" else entry["signing_key_id"]
    assert judged(tmp_path, bundle_of(made_log), trusted).verdict == Verdict.VERIFIED


def test_without_a_key_it_proves_nothing(made_log: LogMaker, tmp_path: Path, blank: "Page") -> None:
    data = bundle_of(made_log)
    report = judged(tmp_path, data)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"trust.none"})
    assert browsed(blank, data)["trusted"] is False


def test_what_keys_rest_on_comes_with_the_entries_asked_for(
    made_log: LogMaker, tmp_path: Path, blank: "Page"
) -> None:
    data = bundle_of(made_log, payload={"number": 7})
    items = [parse_item(line + b"\n") for line in data.splitlines()[1:]]
    assert [(json.loads(item.line)["sequence_number"], item.is_asked) for item in items] == [
        (0, False), (ROTATED_AT, False), (7, True),
    ]  # fmt: skip
    assert judged(tmp_path, data, vkey_of(made_log)).verdict == Verdict.VERIFIED
    assert browsed(blank, data, vkey_of(made_log)) == {
        "codes": [],
        "unchecked": [],
        "trusted": True,
        "numbers": [7],
    }


def test_without_the_rotation_what_it_changed_is_not_judged(
    made_log: LogMaker, tmp_path: Path, blank: "Page"
) -> None:
    lines = bundle_of(made_log, payload={"number": 7}).splitlines(keepends=True)
    data = b"".join(line for at, line in enumerate(lines) if at != 2)
    report = judged(tmp_path, data, vkey_of(made_log))
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, {"entry.unjudged"})
    found = browsed(blank, data, vkey_of(made_log))
    assert (found["codes"], len(found["unchecked"])) == ([], 1)


def _replaced(line: int, old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    def change(lines: list[bytes]) -> None:
        assert old in lines[line]
        lines[line] = lines[line].replace(old, new, 1)

    return change


def _other_digit(line: int, before: bytes, skip: int) -> Callable[[list[bytes]], None]:
    """Change the hex digit that stands `skip` characters after `before`."""

    def change(lines: list[bytes]) -> None:
        at = lines[line].index(before) + len(before) + skip
        digit = b"1" if lines[line][at : at + 1] == b"0" else b"0"
        lines[line] = lines[line][:at] + digit + lines[line][at + 1 :]

    return change


def _swap_paths(lines: list[bytes]) -> None:
    items = [parse_item(lines[at]) for at in (2, 3)]
    lines[2:4] = [
        format_item(items[0]._replace(path=items[1].path)),
        format_item(items[1]._replace(path=items[0].path)),
    ]


def _swap_signatures(lines: list[bytes]) -> None:
    first, second = (json.loads(lines[at])["entry"]["hsm_signature"].encode() for at in (2, 3))
    _replaced(2, first, second)(lines)


def _copy_line(lines: list[bytes]) -> None:
    lines.insert(3, lines[2])


TAMPERINGS: dict[str, tuple[Callable[[list[bytes]], None], str]] = {
    "payload": (_replaced(2, b'"number":1', b'"number":9'), "entry.action_hash"),
    "score": (_replaced(2, b'"an_toan":6.5', b'"an_toan":7.5'), "entry.entry_hash"),
    "actor": (_replaced(3, b"agent-0", b"agent-9"), "entry.entry_hash"),
    "hash and all": (_other_digit(2, b'"entry_hash":"', 3), "entry.entry_hash"),
    "white space": (_replaced(2, b'"an_toan":6.5', b'"an_toan": 6.5'), "entry.canonical"),
    "number respelled": (_replaced(2, b'"an_toan":6.5', b'"an_toan":6.50'), "entry.canonical"),
    "signature": (_other_digit(2, b'"hsm_signature":"', 40), "entry.signature"),
    "another entry's signature": (_swap_signatures, "entry.signature"),
    "no signature": (_replaced(6, b'"hsm_signature":"', b'"hsm_signature":"x'), "entry.signature_form"),
    "path": (_other_digit(2, b'"path":"', 5), "proof.inclusion"),
    "path too short": (lambda lines: lines.__setitem__(2, lines[2][:-67] + b'"}\n'), "proof.inclusion"),
    "paths exchanged": (_swap_paths, "proof.inclusion"),
    "size of the checkpoint": (_replaced(0, b"\\n9\\n", b"\\n8\\n"), "checkpoint.signature"),
    "name of the log": (
        _replaced(0, b"example.com/agents\\n", b"example.com/agentz\\n"),
        "checkpoint.signature",
    ),
    "an entry twice": (_copy_line, "export.malformed"),
    "cut short": (lambda lines: lines.__setitem__(-1, lines[-1][:-30]), "export.malformed"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_changed_is_found_by_both_and_called_the_same(
    made_log: LogMaker, tmp_path: Path, blank: "Page", name: str
) -> None:
    change, code = TAMPERINGS[name]
    lines = bundle_of(made_log).splitlines(keepends=True)
    change(lines)
    data = b"".join(lines)
    report = judged(tmp_path, data, vkey_of(made_log))
    assert code in codes(report)
    assert report.verdict in {Verdict.TAMPERED, Verdict.MALFORMED}
    assert code in browsed(blank, data, vkey_of(made_log))["codes"]


def test_another_log_s_key_is_said_to_be_another_s(made_log: LogMaker, tmp_path: Path, blank: "Page") -> None:
    data, other = bundle_of(made_log), CheckpointKey(7).vkey
    report = judged(tmp_path, data, other)
    assert (report.verdict, codes(report)) == (Verdict.FORKED, {"trust.mismatch"})
    assert browsed(blank, data, other)["codes"] == ["trust.mismatch"]


def test_entries_without_a_checkpoint_are_counted_and_left_out(tmp_path: Path) -> None:
    made = log_of(tmp_path / "audit")
    checkpoint = (made.root / "checkpoint").read_bytes()
    made.append(draft(9))
    made.lay_out()
    (made.root / "checkpoint").write_bytes(checkpoint)
    bundling = Bundling(open_source(made.root), Choice(ALL, 0))
    assert len(list(bundling.lines())) == 10
    assert (bundling.entries, bundling.uncovered) == (9, 1)
    only = Bundling(
        open_source(made.root), Choice(parse_filter({"payload": {"number": 9}, "newest_first": False}), 0)
    )
    list(only.lines())
    with pytest.raises(NotFoundError, match="1 match, and no checkpoint covers them"):
        check_found(only)


def test_a_damaged_log_gives_no_bundle(made_log: LogMaker) -> None:
    tree = made_log.root / "tree" / "0"
    data = bytearray(tree.read_bytes())
    data[40] ^= 1
    tree.write_bytes(data)
    with pytest.raises(CorruptError, match="nothing can be proved"):
        bundle_of(made_log)


def test_each_line_has_one_spelling(made_log: LogMaker) -> None:
    header, *items = bundle_of(made_log).splitlines(keepends=True)
    assert format_header(parse_header(header)) == header
    assert [format_item(parse_item(line)) for line in items] == items
    for line in (b"{}\n", header.replace(b":", b": ", 1), header[:-1], header.replace(b"/v1", b"/v2")):
        with pytest.raises(MalformedProofError):
            parse_header(line)
    for line in (items[0][:-1], items[0].replace(b"entry", b"entrY", 1), items[0].replace(b'"}\n', b'A"}\n')):
        with pytest.raises(MalformedProofError):
            parse_item(line)
    longest = Item(b"{}", bytes(32 * 63))
    assert parse_item(format_item(longest)) == longest
    with pytest.raises(MalformedProofError):
        parse_item(format_item(longest._replace(path=bytes(32 * 64))))


def test_number_of_time_stamps_at_the_limit_and_one_past_it(made_log: LogMaker) -> None:
    header = json.loads(bundle_of(made_log).splitlines()[0])
    stamp = {"response": "AA==", "size": 1}

    def line(count: int) -> bytes:
        return (
            json.dumps(
                {**header, "timestamps": [stamp] * count}, separators=(",", ":"), ensure_ascii=False
            ).encode()
            + b"\n"
        )

    assert len(parse_header(line(TIMESTAMPS_MAX)).timestamps) == TIMESTAMPS_MAX
    with pytest.raises(MalformedProofError):
        parse_header(line(TIMESTAMPS_MAX + 1))


def test_a_bundle_begins_with_the_genesis_entry(made_log: LogMaker, tmp_path: Path, blank: "Page") -> None:
    lines = bundle_of(made_log).splitlines(keepends=True)
    data = b"".join([lines[0], *lines[2:]])
    report = judged(tmp_path, data, vkey_of(made_log))
    assert (report.verdict, codes(report)) == (Verdict.MALFORMED, {"export.malformed"})
    assert browsed(blank, data)["codes"] == ["export.malformed"]
    assert codes(judged(tmp_path, lines[0])) == {"export.malformed"}


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    for text in ("", "{}\n", "<!doctype html>\n<p>x\n", '{"checkpoint":"x"}\n'):
        path = tmp_path / "x"
        path.write_text(text)
        assert not is_bundle_file(path)
    assert not is_bundle_file(tmp_path / "nothing")
