"""verify: verdicts, exit codes and what is said beside them."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.damages import (
    cut_entries_only,
    edit,
    empty,
    gone,
    no_log,
    nothing,
    remove_the_checkpoint,
    swap,
    tear,
)
from tests.cli.running import VECTORS, Run, segment
from tests.support.legacy import legacy_lines
from tests.support.logs import draft
from tests.support.serving import served

from attestlog._internal.core.note import format_vkey
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source


def test_a_legacy_file_has_nothing_for_a_policy_to_judge(run: Run, tmp_path: Path, vkey: str) -> None:
    path, policy = tmp_path / "old.jsonl", tmp_path / "policy"
    path.write_bytes(b"".join(line + b"\n" for line in legacy_lines(3)))
    policy.write_text(f"log {vkey}\nquorum none\n")
    assert run("verify", path).code == 0
    assert run("verify", path, "--trust-policy", policy).code == 2
    assert run("verify", path, "--since", policy).code == 2


def test_a_published_log_is_verified(run: Run, log: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    run("publish", log, public)
    (key,) = open_source(log).genesis().checkpoint_keys
    unknown = run("verify", public)
    assert (unknown.code, unknown.out.split("\n")[0]) == (4, "UNKNOWN")
    assert "published.key_unknown" in unknown.out
    done = run("verify", public, "--trust", format_vkey(key))
    assert done.code == 0
    assert done.out.startswith("VERIFIED, confirmed by example.com/agents+")
    assert "published.partly_read" in done.out
    with served(public) as site:
        report = run("verify", site.url, "--full", "--json").object
    assert (report["verdict"], report["format"], report["remembered_size"]) == ("VERIFIED", "published", 4)
    assert report["finding_counts"] == {}
    (public / "tile/entries/000.p/4").write_bytes(bytes(4 * 34))
    assert run("verify", public).code == 1
    assert run("verify", "http://example.com/log").code == 3


def test_options_that_say_nothing_here_are_refused(run: Run, log: Path, tmp_path: Path) -> None:
    run("publish", log, tmp_path / "public")
    assert run("verify", log, "--full").code == 2
    assert run("verify", tmp_path / "public", "--from", 2).code == 2


@pytest.mark.parametrize(
    "damage, verdict, code",
    [
        (nothing, "VERIFIED", 0),
        (edit, "TAMPERED", 1),
        (swap, "TAMPERED", 1),
        (remove_the_checkpoint, "TAMPERED", 1),
        (empty, "MALFORMED", 3),
        (no_log, "MALFORMED", 3),
        (gone, "UNKNOWN", 4),
        (cut_entries_only, "TRUNCATED", 5),
        (tear, "INCOMPLETE", 6),
    ],
)
def test_verdict_and_exit_code(
    run: Run, log: Path, damage: Callable[[Path], None], verdict: str, code: int
) -> None:
    damage(log)
    report = run("verify", log, "--json")
    assert (report.code, report.err) == (code, "")
    assert report.object["type"] == "report"
    assert (report.object["verdict"], report.object["exit_code"]) == (verdict, code)
    text = run("verify", log)
    assert text.code == code
    assert text.out.splitlines()[0].startswith(verdict)
    for finding in report.object["findings"]:
        assert finding["code"] in text.out
        assert finding["message"] in text.out


def test_self_attested_is_said_plainly_and_nobody_is_called_trusted(run: Run, log: Path) -> None:
    result = run("verify", log)
    assert result.out.splitlines()[0] == (
        "VERIFIED, SELF-ATTESTED: nothing outside the log vouches for its keys"
    )
    assert "attestlog: hint: pass --trust KEY" in result.err
    assert "trusted" not in result.out.lower()
    assert run("verify", log, "--json").object["self_attested"] is True


def test_every_kind_of_trust_confirms(run: Run, log: Path, tmp_path: Path) -> None:
    entry_key, checkpoint_key = run("keys", "list", log, "--json").objects
    (tmp_path / "key.pem").write_text(entry_key["public_key"])
    genesis_hash = open_source(log).entry(0).entry_hash
    for trust in (checkpoint_key["vkey"], entry_key["key_id"], tmp_path / "key.pem", genesis_hash):
        report = run("verify", log, "--trust", trust, "--json").object
        assert (report["verdict"], report["self_attested"]) == ("VERIFIED", False)
        text = run("verify", log, "--trust", trust)
        assert text.out.startswith(f"VERIFIED, confirmed by {report['trusted_by'][0]}")
        assert "hint" not in text.err


def test_a_key_that_does_not_vouch_is_forked_and_one_that_is_none_is_an_error(run: Run, log: Path) -> None:
    assert run("verify", log, "--trust", "ab" * 32).code == 5
    result = run("verify", log, "--trust", "nobody")
    assert (result.code, result.out) == (4, "")
    assert "attestlog init" not in result.err


def test_a_cut_tail_shows_only_to_who_remembers(run: Run, log: Path, tmp_path: Path, home: Path) -> None:
    shutil.copytree(log, tmp_path / "older")
    with Log.open(log) as opened:
        opened.append(draft(4))
    assert run("verify", log).code == 0
    shutil.rmtree(log)
    shutil.copytree(tmp_path / "older", log)
    assert run("verify", log, "--no-remember").code == 0
    result = run("verify", log)
    assert result.code == 5
    assert result.out.startswith("TRUNCATED\n")
    assert "5 entries are remembered, 4 are there" in result.out
    assert f"is in {home / 'state'}" in result.err


def test_verifying_goes_on_from_what_is_remembered(run: Run, log: Path) -> None:
    assert run("verify", log).code == 0
    with Log.open(log) as opened:
        opened.append(draft(4))
    report = run("verify", log, "--from", 4, "--json").object
    assert (report["verdict"], report["size"], report["remembered_size"]) == ("VERIFIED", 5, 4)
    assert run("verify", log, "--from", "-1").code == 2
    assert run("verify", log, "--workers", "2").code == 0


def test_findings_are_listed_up_to_a_limit(run: Run, log: Path) -> None:
    with Log.open(log) as opened:
        opened.append_many(draft(number) for number in range(200))
    segment(log).write_bytes(segment(log).read_bytes().replace(b'"agent-1"', b'"agent-2"'))
    result = run("verify", log)
    report = run("verify", log, "--json").object
    assert result.code == 1
    listed = sum("entry.entry_hash" in line for line in result.out.splitlines())
    assert listed < sum(report["finding_counts"].values())
    assert "more findings are not shown" in result.err
    assert len(report["findings"]) == sum(report["finding_counts"].values())


def test_a_path_that_is_no_text_is_still_json(run: Run) -> None:
    report = run("verify", "\udcff", "--json")
    assert (report.code, report.object["subject"]) == (4, "\udcff")


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS does not name the folder of vectors")
@pytest.mark.parametrize(
    "name, code",
    [
        ("good-1", 0),
        ("good-25", 0),
        ("bad-edited-payload-7", 1),
        ("bad-deleted-10", 1),
        ("bad-swapped-3-4", 1),
        ("bad-torn-last-line", 6),
        ("empty", 4),
    ],
)
def test_legacy_files_are_verified_as_they_are(run: Run, name: str, code: int) -> None:
    path = Path(VECTORS or "") / "legacy" / f"{name}.jsonl"
    report = run("verify", path, "--json")
    assert (report.code, report.object["exit_code"]) == (code, code)
    if name != "empty":
        assert report.object["format"] == "legacy"
    text = run("verify", path)
    assert text.code == code
    assert "SELF-ATTESTED" not in text.out


def test_what_must_not_be_found_is_an_exit_code_of_its_own(run: Run, log: Path) -> None:
    with Log.open(log) as opened:
        opened.append({**draft(5), "dependencies": [str(uuid.UUID(int=7, version=4))]})
    assert run("verify", log).code == 0
    for options in (
        ("--strict",),
        ("--fail-on", "entry.dependency"),
        ("--fail-on", "log.future", "--strict"),
    ):
        result = run("verify", log, *options, "--json")
        assert (result.code, result.object["verdict"]) == (8, "VERIFIED")
    assert run("verify", log, "--fail-on", "log.future").code == 0
    unknown = run("verify", log, "--fail-on", "entry.dependencies")
    assert unknown.code == 2
    assert "there is no such finding" in unknown.err


def test_how_old_a_log_may_be(run: Run, log: Path, tmp_path: Path) -> None:
    assert run("verify", log, "--max-age", "1w").code == 0
    assert run("publish", log, tmp_path / "public").code == 0
    undated = run("verify", tmp_path / "public", "--max-age", "1w", "--json")
    assert (undated.code, [item["code"] for item in undated.object["findings"]][-1]) == (4, "log.age")
    for age in ("soon", "-1d"):
        assert run("verify", log, "--max-age", age).code == 2
