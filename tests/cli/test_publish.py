"""publish, as it is typed."""

from pathlib import Path

from tests.cli.running import Run
from tests.support.logs import draft
from tests.support.published import check_published

from attestlog._internal.log import Log
from attestlog._internal.storage.resolve import open_source


def test_publish_says_what_is_new(run: Run, log: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    done = run("publish", log, public)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("example.com/agents at 4 entries, 4 more than before\nroot   ")
    assert f"files  2 new, 0 were there, in {public}\n" in done.out
    (key,) = open_source(log).genesis().checkpoint_keys
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
