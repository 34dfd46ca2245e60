"""Names of files of the embedded directory."""

from pathlib import Path

import pytest

from attestlog._internal.storage.files.layout import is_log, list_segments, segment_name, tree_path


@pytest.mark.parametrize(
    "first, name",
    [(0, "000000000000.jsonl"), (65_536, "000000065536.jsonl"), (999_999_999_999, "999999999999.jsonl")],
)
def test_segment_names(first: int, name: str) -> None:
    assert segment_name(first) == name


def test_segments_are_listed_in_order_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "entries"
    folder.mkdir()
    names = [segment_name(first) for first in (131_072, 0, 65_536)]
    others = ["torn-000000000000-1", "1.jsonl", "000000000000.json", "000000000000.jsonl.tmp"]
    others += ["٠00000000000.jsonl", "0000000000000.jsonl"]
    for name in [*names, *others]:
        (folder / name).touch()
    want = [(first, folder / segment_name(first)) for first in (0, 65_536, 131_072)]
    assert list_segments(tmp_path) == want
    with pytest.raises(FileNotFoundError):
        list_segments(tmp_path / "nowhere")


def test_tree_files_are_named_by_level(tmp_path: Path) -> None:
    assert tree_path(tmp_path, 2) == tmp_path / "tree" / "2"


def test_what_looks_like_a_log(tmp_path: Path) -> None:
    assert not is_log(tmp_path)
    assert not is_log(tmp_path / "nowhere")
    (tmp_path / "b" / "entries").mkdir(parents=True)
    assert is_log(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "entries").touch()
    assert not is_log(tmp_path / "c")
