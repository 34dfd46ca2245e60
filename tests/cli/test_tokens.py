"""tokens: made, listed and revoked."""

import json
import stat
from pathlib import Path

from tests.cli.running import Run


def test_tokens_are_made_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "server")
    text = run("tokens", "add", place, "a", "--scope", "read", "--scope", "replicate").out.strip()
    assert len(text) == 43
    assert stat.S_IMODE((tmp_path / "server" / "tokens.toml").stat().st_mode) == 0o600
    assert run("tokens", "add", place, "a", "--scope", "read").code == 2
    assert run("tokens", "add", place, "b", "--scope", "all").code == 2
    listed = json.loads(run("tokens", "list", place, "--json").out)
    assert (listed["name"], listed["scopes"], listed["origin"]) == ("a", ["read", "replicate"], None)
    assert text not in run("tokens", "list", place).out
    assert run("tokens", "revoke", place, "a").code == 0
    assert run("tokens", "revoke", place, "a").code == 4
    assert run("tokens", "list", place, "--json").out == ""
