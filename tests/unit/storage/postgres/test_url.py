"""URLs of logs on PostgreSQL: what they name, what they must not hold, and when TLS is asked for."""

import pytest

from attestlog._internal.storage.postgres.url import parse_url
from attestlog.errors import MalformedConfigError


def test_a_url_names_a_database_and_a_log() -> None:
    url = parse_url("postgresql://app@db1.example.com,db2.example.com:6432/audit?log=acts&connect_timeout=3")
    assert url.log == "acts"
    assert url.conninfo == "postgresql://app@db1.example.com,db2.example.com:6432/audit?connect_timeout=3"
    assert url.durability == "server"
    assert parse_url(url.text) == url


def test_one_log_has_one_name() -> None:
    assert parse_url("POSTGRES://h/d?log=a&x=1").text == parse_url("postgresql://h/d?x=1&log=a").text


def test_durability_is_asked_for() -> None:
    url = parse_url("postgresql:///d?durability=standby&log=a")
    assert (url.durability, url.conninfo) == ("standby", "postgresql:///d")
    assert "durability=standby" in url.text


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:pa55word@h/d?log=a", "postgresql://h/d?log=a&password=pa55word",
        "postgresql://h/d?log=a&sslpassword=pa55word", "postgresql://:pa55word@h/d?log=a",
    ],
)  # fmt: skip
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(MalformedConfigError) as caught:
        parse_url(text)
    assert "pa55word" not in str(caught.value)
    assert "pa55word" not in repr(caught.value.evidence())


@pytest.mark.parametrize(
    "text,why",
    [
        ("postgresql://h/d", "names no log"), ("postgresql://h/d?log=", "names no log"),
        ("postgresql://h/d?log=a/b", "names no log"), ("postgresql://h/d?log=.a", "names no log"),
        ("postgresql://h/d?log=a&log=b", "more than once"), ("mysql://h/d?log=a", "not a URL of PostgreSQL"),
        ("postgresql://h/d?log=a#b", "not a URL of PostgreSQL"),
        ("postgresql://h/d?log=a&durability=none", "durability"),
    ],
)  # fmt: skip
def test_what_names_no_log_is_refused(text: str, why: str) -> None:
    with pytest.raises(MalformedConfigError, match=why):
        parse_url(text)


@pytest.mark.parametrize(
    "place",
    [
        "localhost/d?", "127.0.0.1:5432/d?", "[::1]:5432/d?", "/d?", "/d?host=/run/postgresql&",
        "%2Frun%2Fpostgresql/d?", "localhost,127.0.0.2/d?",
    ],
)  # fmt: skip
def test_this_machine_needs_no_tls(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert parse_url(f"postgresql://{place}log=a").options == {}


@pytest.mark.parametrize(
    "place",
    [
        "db.example.com/d?", "localhost,db.example.com/d?", "10.0.0.1/d?", "[2001:db8::1]:5432/d?",
        "/d?host=db.example.com&", "/d?service=audit&", "localhost/d?hostaddr=10.0.0.1&",
    ],
)  # fmt: skip
def test_another_machine_is_verified_unless_the_url_says_otherwise(place: str) -> None:
    assert parse_url(f"postgresql://{place}log=a").options == {"sslmode": "verify-full"}
    assert parse_url(f"postgresql://{place}sslmode=require&log=a").options == {}


@pytest.mark.parametrize(
    "name,value", [("PGHOST", "db.example.com"), ("PGHOSTADDR", "10.0.0.1"), ("PGSERVICE", "audit")]
)
def test_the_environment_may_name_another_machine(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert parse_url("postgresql:///d?log=a").options == {"sslmode": "verify-full"}
