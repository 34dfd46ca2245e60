"""`attestlog publish`, as it is typed."""

from pathlib import Path

from tests.cli.running import Run
from tests.support.logs import draft
from tests.support.published import check_published
from tests.support.serving import reply, served
from tests.support.tsa import Authority

from attestlog._internal.core.note import format_vkey
from attestlog._internal.log import Log
from attestlog._internal.storage.files.reader import LogReader


def test_publish_says_what_is_new(run: Run, log: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    done = run("publish", log, public)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("example.com/agents at 4 entries, 4 more than before\nroot   ")
    assert f"files  2 new, 0 were there, in {public}\n" in done.out
    (key,) = LogReader(log).genesis().checkpoint_keys
    assert len(check_published(public, key) or ()) == 4
    with Log.open(log) as opened:
        opened.append(draft(9))
    again = run("publish", log, public, "--json").object
    assert (again["type"], again["size"], again["old_size"], again["written"]) == ("published", 5, 4, 2)
    whole = run("publish", log, public, "--whole", "--json").object
    assert (whole["written"], whole["found"]) == (0, 2)


def test_what_differs_is_kept_and_the_exit_code_says_contradiction(
    run: Run, log: Path, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    run("publish", log, public)
    (public / "tile/entries/000.p/4").write_bytes(b"other")
    done = run("publish", log, public, "--whole", "--json")
    assert (done.code, done.out) == (5, "")
    assert done.error["code"] == "verification.consistency"
    assert done.error["path"] == str(public / "tile/entries/000.p/4")
    assert (public / "tile/entries/000.p/4").read_bytes() == b"other"


def test_no_log_and_no_folder(run: Run, log: Path, tmp_path: Path) -> None:
    assert run("publish", tmp_path / "nothing", tmp_path / "public").code == 4
    assert run("publish", log, log).code == 2
    assert run("publish", log).code == 2


def test_a_published_log_is_verified(run: Run, log: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    run("publish", log, public)
    (key,) = LogReader(log).genesis().checkpoint_keys
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


def test_a_log_with_hybrid_checkpoints(run: Run, tmp_path: Path) -> None:
    log, key = tmp_path / "pq", f"file:{tmp_path / 'pq.pem'}"
    done = run("init", log, "--origin", "example.com/pq", "--checkpoint-pq-signer", key)
    assert done.code == 0
    assert "and ML-DSA-44   example.com/pq+" in done.out
    assert f"  kept in       {key}\n" in done.out
    keys = [row for row in run("keys", "list", log, "--json").objects if row["signs"] == "checkpoints"]
    assert [row["algorithm"] for row in keys] == ["Ed25519", "ML-DSA-44"]
    assert run("checkpoint", log).out.count("\n— example.com/pq ") == 2
    (log / "log.toml").unlink()
    assert run("repair", log, "--yes").code == 4, "the key is not where keys are kept"
    assert run("repair", log, "--yes", "--checkpoint-pq-signer", key).code == 0
    assert run("verify", log, "--trust", keys[1]["vkey"]).code == 0
    assert run("checkpoint", log).code == 0


def test_options_that_say_nothing_here_are_refused(run: Run, log: Path, tmp_path: Path) -> None:
    run("publish", log, tmp_path / "public")
    assert run("verify", log, "--full").code == 2
    assert run("verify", tmp_path / "public", "--from", 2).code == 2


def test_a_checkpoint_is_stamped(run: Run, log: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with authority.serving() as site:
        done = run("checkpoint", log, "--timestamp", site.url)
        assert (done.code, done.out) == (0, (log / "checkpoint").read_text())
        assert "note: stamped at 20" in done.err
        assert run("checkpoint", log, "--timestamp", site.url, "--json").object["timestamp"]["time"]
        site.answers["*"] = lambda handler: reply(handler, 503, b"")
        failed = run("checkpoint", log, "--timestamp", site.url)
        assert (failed.code, failed.out) == (4, "")
        assert "the checkpoint is signed and stored without it" in failed.err
    shown = run("verify", log, "--tsa-root", authority.root)
    assert "  timestamped all 4 entries, at 20" in shown.out
    assert run("verify", log, "--json").object["timestamped_size"] is None
    run("publish", log, tmp_path / "public")
    assert run("verify", tmp_path / "public", "--tsa-root", authority.root).code == 2
