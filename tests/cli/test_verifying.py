"""verify, repair, import, doctor: verdicts, exit codes and what is said beside them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.running import ORIGIN, Run, segment
from tests.support.logs import draft

from attestlog._internal.log import Log
from attestlog._internal.storage.files.reader import LogReader

VECTORS = os.environ.get("ATTESTLOG_VECTORS")


def edit(log: Path) -> None:
    """One byte of a payload."""
    segment(log).write_bytes(segment(log).read_bytes().replace(b'"number":1', b'"number":7'))


def swap(log: Path) -> None:
    lines = segment(log).read_bytes().splitlines(keepends=True)
    segment(log).write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))


def remove_the_checkpoint(log: Path) -> None:
    (log / "checkpoint").unlink()


def cut_entries_only(log: Path) -> None:
    lines = segment(log).read_bytes().splitlines(keepends=True)
    segment(log).write_bytes(b"".join(lines[:-1]))


def tear(log: Path) -> None:
    with segment(log).open("ab") as file:
        file.write(b'{"action_hash":"ab')


def empty(log: Path) -> None:
    segment(log).write_bytes(b"")


def nothing(_: Path) -> None:
    """Leave it."""


def gone(log: Path) -> None:
    shutil.rmtree(log)


def no_log(log: Path) -> None:
    shutil.rmtree(log)
    log.mkdir()
    (log / "notes.txt").write_text("hello")


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
    genesis_hash = LogReader(log).entry(0).entry_hash
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


# repair


def lose_the_config(log: Path) -> None:
    (log / "log.toml").unlink()


def spoil_the_config(log: Path) -> None:
    (log / "log.toml").write_text("format_version = 1\norigin = ")


def change_the_origin(log: Path) -> None:
    path = log / "log.toml"
    path.write_text(path.read_text().replace(ORIGIN, "example.com/other"))


def lose_the_tree(log: Path) -> None:
    shutil.rmtree(log / "tree")
    (log / "tree").mkdir()


def spoil_the_tree(log: Path) -> None:
    path = log / "tree" / "0"
    path.write_bytes(b"\x00" * 32 + path.read_bytes()[32:])


@pytest.mark.parametrize(
    "damages",
    [
        [tear],
        [lose_the_config],
        [spoil_the_config],
        [change_the_origin],
        [lose_the_tree],
        [spoil_the_tree],
        [tear, lose_the_config, lose_the_tree],
    ],
)
def test_repair_says_what_it_would_do_and_does_it_with_yes(
    run: Run, log: Path, damages: list[Callable[[Path], None]]
) -> None:
    config, entries = (log / "log.toml").read_text(), segment(log).read_bytes()
    tree = (log / "tree" / "0").read_bytes()
    for damage in damages:
        damage(log)
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    planned = run("repair", log, "--json")
    assert planned.code == 6
    assert planned.object["type"] == "repair"
    assert (len(planned.object["fixes"]), planned.object["done"]) == (len(damages), False)
    assert run("repair", log).out.count("would: ") == len(damages)
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before
    done = run("repair", log, "--yes")
    assert (done.code, done.out.count("done: ")) == (0, len(damages))
    assert run("verify", log).code == 0
    assert ((log / "log.toml").read_text(), segment(log).read_bytes()) == (config, entries)
    assert (log / "tree" / "0").read_bytes() == tree
    again = run("repair", log, "--yes", "--json").object
    assert (again["fixes"], again["done"], again["verdict"]) == ([], False, "VERIFIED")


def test_repair_keeps_what_it_replaces(run: Run, log: Path) -> None:
    spoil_the_config(log)
    tear(log)
    done = run("repair", log, "--yes")
    assert (log / "log.toml.old").read_text() == "format_version = 1\norigin = "
    assert "log.toml.old" in done.err
    (torn,) = (log / "entries").glob("torn-*")
    assert torn.read_bytes() == b'{"action_hash":"ab'
    assert torn.name in done.err


@pytest.mark.parametrize(
    "damage, code",
    [(edit, 1), (swap, 1), (cut_entries_only, 5), (remove_the_checkpoint, 1), (empty, 3), (gone, 4)],
)
def test_repair_touches_nothing_where_only_a_copy_helps(
    run: Run, log: Path, damage: Callable[[Path], None], code: int
) -> None:
    damage(log)
    if log.exists():
        lose_the_config(log)
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    for arguments in ([], ["--yes"]):
        result = run("repair", log, *arguments)
        assert result.code == code
        assert "Only another copy of the log can repair this" in result.out
        assert "hint" in result.err
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before


def test_repair_asks_for_keys_it_cannot_find(run: Run, log: Path, home: Path, tmp_path: Path) -> None:
    lose_the_config(log)
    (home / "keys").rename(tmp_path / "elsewhere")
    result = run("repair", log, "--yes")
    assert (result.code, result.out) == (4, "")
    assert "name its signer with --signer" in result.err
    uris = [f"file:{next((tmp_path / 'elsewhere').glob(f'*-{role}-*'))}" for role in ("entry", "checkpoint")]
    result = run("repair", log, "--yes", "--signer", uris[0], "--checkpoint-signer", uris[1])
    assert result.code == 0
    with Log.open(log) as opened:
        opened.append(draft(9))


def test_repair_finds_the_files_of_encrypted_keys(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "locked"
    monkeypatch.setenv("ATTESTLOG_PASSPHRASE", "secret")
    run("init", log, "--origin", ORIGIN)
    config = (log / "log.toml").read_text()
    monkeypatch.delenv("ATTESTLOG_PASSPHRASE")
    lose_the_config(log)
    assert run("repair", log, "--yes").code == 0
    assert (log / "log.toml").read_text() == config


# legacy logs


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


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS does not name the folder of vectors")
def test_importing_a_legacy_log(run: Run, log: Path) -> None:
    folder = Path(VECTORS or "") / "legacy"
    good = folder / "good-25.jsonl"
    imported = run("import", log, good, "--actor-id", "me", "--json").object
    assert (imported["type"], imported["lines"], imported["appended"]) == ("import", 25, 25)
    assert imported["sequence_number"] == 29
    assert LogReader(log).entry(29).actor_id == "me"
    again = run("import", log, good)
    assert (again.code, again.out) == (2, "")
    refused = run("import", log, folder / "bad-swapped-3-4.jsonl")
    assert (refused.code, refused.out) == (1, "")
    assert "--allow-damaged" in refused.err
    torn = run("import", log, folder / "bad-torn-last-line.jsonl", "--json")
    assert (torn.code, torn.error["report"]["verdict"]) == (6, "INCOMPLETE")
    assert run("verify", log).code == 0


@pytest.mark.skipif(not VECTORS, reason="ATTESTLOG_VECTORS does not name the folder of vectors")
def test_importing_a_damaged_legacy_log_says_so(run: Run, log: Path) -> None:
    damaged = Path(VECTORS or "") / "legacy" / "bad-edited-payload-7.jsonl"
    result = run("import", log, damaged, "--allow-damaged")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"TAMPERED  {damaged}: 25 lines, 25 of them new here\n")
    assert run("verify", log).code == 0


def test_importing_what_is_not_there(run: Run, log: Path) -> None:
    result = run("import", log, "nowhere.jsonl")
    assert (result.code, result.out) == (4, "")
    assert "nowhere.jsonl" in result.err


# doctor


def test_doctor_shows_what_there_is(run: Run, tmp_path: Path, home: Path) -> None:
    result = run("doctor", tmp_path, "--json")
    assert result.code == 0
    found = result.object
    assert (found["type"], found["directory"]) == ("doctor", str(tmp_path))
    checks = found["checks"]
    assert set(checks) == {
        "attestlog", "python", "cryptography", "openssl", "cores", "filesystem", "space", "fsync", "clock",
        "extras", "keys", "state",
    }  # fmt: skip
    assert checks["fsync"]["median_s"] > 0
    assert checks["keys"]["path"] == str(home / "keys")
    assert checks["state"]["path"] == str(home / "state")
    assert list(tmp_path.iterdir()) == []
    text = run("doctor", tmp_path)
    assert [line.split()[0] for line in text.out.splitlines()] == list(checks)


def test_doctor_says_where_no_log_can_be_kept(run: Run, tmp_path: Path) -> None:
    result = run("doctor", tmp_path / "nowhere", "--json")
    assert result.code == 4
    states = {name: check["state"] for name, check in result.object["checks"].items()}
    assert (states["space"], states["fsync"], states["python"]) == ("bad", "bad", "good")


def test_doctor_refuses_network_file_systems_by_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 1 0:1 / / rw - nfs4 server:/export rw\n")
    monkeypatch.setattr("attestlog._internal.disk._MOUNTS", mounts)
    result = run("doctor", tmp_path, "--json")
    assert result.code == 4
    assert "nfs4" in json.dumps(result.object["checks"]["filesystem"])
