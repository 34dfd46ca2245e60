"""Which exports were made: kept in the user's state, a place once."""

import pytest

from attestlog._internal import places
from attestlog._internal.exporting.made import exports_made, note_export
from attestlog.errors import StorageError

GENESIS = "ab" * 32


def note(to: str, start: int, stop: int, form: str = "csv") -> None:
    note_export(GENESIS, to=to, form=form, start=start, stop=stop, entries=stop - start)


def test_nothing_is_known_of_a_log_that_was_not_exported() -> None:
    assert exports_made(GENESIS) == []


def test_a_place_is_named_once_and_with_all_it_has_held() -> None:
    note("/a.csv", 5, 9)
    note("/b.csv", 0, 3)
    note("/a.csv", 7, 12)
    first, second = exports_made(GENESIS)
    assert (first.to, first.start, first.stop, first.entries) == ("/a.csv", 5, 12, 5)
    assert first.first_at <= first.last_at
    assert second.to == "/b.csv"
    assert [first.may_hold(number) for number in (4, 5, 11, 12)] == [False, True, True, False]
    assert exports_made("cd" * 32) == []


def test_one_file_in_two_forms_is_two_places() -> None:
    note("/a", 0, 1)
    note("/a", 0, 1, form="ocsf")
    assert [made.form for made in exports_made(GENESIS)] == ["csv", "ocsf"]


def test_notes_that_cannot_be_read_are_not_taken_for_none_and_not_overwritten() -> None:
    note("/a.csv", 0, 1)
    path = places.exports_dir() / f"{GENESIS}.json"
    path.write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        exports_made(GENESIS)
    with pytest.raises(StorageError, match="is damaged"):
        note("/b.csv", 0, 1)
    assert path.read_text() == "{"


def test_only_the_user_can_read_the_notes() -> None:
    note("/a.csv", 0, 1)
    assert (places.exports_dir() / f"{GENESIS}.json").stat().st_mode & 0o077 == 0
