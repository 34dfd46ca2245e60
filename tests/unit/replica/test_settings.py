"""replica.toml: a replica's name and key."""

from pathlib import Path

import pytest

from attestlog._internal.replica.settings import SETTINGS_FILE, ReplicaSettings, read_settings, write_settings
from attestlog.errors import MalformedConfigError, NotFoundError


@pytest.mark.parametrize("text", ["replica.example.com", "a\x7fb", 'a"b\\c', "ế𝄞\u2028", ""])
def test_any_name_that_is_written_is_read_again(tmp_path: Path, text: str) -> None:
    settings = ReplicaSettings(name=text, key=f"file:{text}")
    write_settings(tmp_path / "replica", settings)
    assert read_settings(tmp_path / "replica") == settings


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"is not a replica: it has no replica\.toml"):
        read_settings(tmp_path)
    for data in (b"\xff", b"[", b"name = 1\nkey = 'a'\n", b"name = 'a'\n"):
        (tmp_path / SETTINGS_FILE).write_bytes(data)
        with pytest.raises(MalformedConfigError, match=r"^replica\.toml: "):
            read_settings(tmp_path)
