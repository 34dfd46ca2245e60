"""checkpoint: the signed head, printed and time-stamped."""

from pathlib import Path

from tests.cli.running import ORIGIN, Run
from tests.support.serving import reply
from tests.support.tsa import Authority

from attestlog._internal.config import read_config
from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source


def test_checkpoint_prints_the_note_that_is_stored(run: Run, log: Path) -> None:
    result = run("checkpoint", log)
    assert (result.code, result.err) == (0, "")
    assert result.out.encode() == (log / "checkpoint").read_bytes()
    described = run("checkpoint", log, "--json").object
    assert described["type"] == "checkpoint"
    assert (described["origin"], described["size"], described["note"]) == (ORIGIN, 4, result.out)


def test_checkpoint_of_a_log_that_does_not_continue_the_last_one_is_refused(
    run: Run, log: Path, tmp_path: Path
) -> None:
    with Log.open(log) as opened:
        signer = read_config(open_source(log)).signers.checkpoint
        assert opened.head().size == 4
    elsewhere = tmp_path / "elsewhere"
    with Log.create(tmp_path / "other", origin=ORIGIN, checkpoint_signer=signer, state=elsewhere) as other:
        other.append(event_type="ACTION", action_type="a", actor_id="b")
    (log / "checkpoint").write_bytes((tmp_path / "other" / "checkpoint").read_bytes())
    result = run("checkpoint", log)
    assert result.code == 1
    assert result.out == ""


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
