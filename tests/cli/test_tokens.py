"""tokens: made, listed and revoked."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cli.running import Run

from attestlog._internal.server.tokens import Scope, TokenFile


def test_tokens_are_made_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "server")
    scopes = ["--scope", "read", "--scope", "replicate"]
    text = run("tokens", "add", place, "a", *scopes, "--any-origin").out.strip()
    assert len(text) == 43
    assert stat.S_IMODE((tmp_path / "server" / "tokens.toml").stat().st_mode) == 0o600
    assert run("tokens", "add", place, "a", "--scope", "read", "--any-origin").code == 2
    assert run("tokens", "add", place, "b", "--scope", "all", "--any-origin").code == 2
    listed = json.loads(run("tokens", "list", place, "--json").out)
    assert (listed["name"], listed["scopes"], listed["origin"]) == ("a", ["read", "replicate"], None)
    assert text not in run("tokens", "list", place).out
    assert run("tokens", "revoke", place, "a").code == 0
    assert run("tokens", "revoke", place, "a").code == 4
    assert run("tokens", "list", place, "--json").out == ""


def test_a_token_is_for_one_log_unless_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "server")
    for wrong in ([], ["--origin", "example.com/one", "--any-origin"]):
        done = run("tokens", "add", place, "a", "--scope", "replicate", *wrong)
        assert (done.code, done.out) == (2, "")
        assert "want --origin NAME, the log that the token is for, or --any-origin" in done.err
    assert not (tmp_path / "server" / "tokens.toml").exists()
    run("tokens", "add", place, "a", "--scope", "replicate", "--origin", "example.com/one")
    assert json.loads(run("tokens", "list", place, "--json").out)["origin"] == "example.com/one"


def test_tokens_changed_by_several_at_once_lose_nothing(tmp_path: Path) -> None:
    """One that is made must not bring back one that is revoked meanwhile."""
    files = [TokenFile(tmp_path) for _ in range(8)]
    for number in range(8):
        files[0].mint(f"old-{number}", [Scope.READ])
    with ThreadPoolExecutor(16) as pool:
        made = [pool.submit(file.mint, f"new-{n}", [Scope.READ]) for n, file in enumerate(files)]
        gone = [pool.submit(file.revoke, f"old-{n}") for n, file in enumerate(files)]
        assert len({item.result() for item in made}) == 8
        for item in gone:
            item.result()
    assert sorted(token.name for token in files[0].tokens()) == [f"new-{n}" for n in range(8)]
