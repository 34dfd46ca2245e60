"""URLs of buckets, and what is refused before a store is asked anything."""

import sys

import pytest

from attestlog._internal.storage.objects.bucket import open_bucket
from attestlog._internal.storage.resolve import is_object_url, is_published
from attestlog.errors import MalformedConfigError, MissingExtraError


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


@pytest.mark.parametrize(
    "given, url",
    [
        ("s3://example-logs", "s3://example-logs"),
        ("s3://example-logs/", "s3://example-logs"),
        ("s3://example-logs/agents/eu/", "s3://example-logs/agents/eu"),
    ],
)
def test_urls(given: str, url: str) -> None:
    assert is_object_url(given)
    assert is_published(given)
    bucket = open_bucket(given)
    assert (bucket.url, bucket.place("checkpoint")) == (url, f"{url}/checkpoint")


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///agents", "s3://b", "s3://example-logs/a//b", "s3://example-logs/../other",
        "s3://key:hush@example-logs/agents", "s3://key@example-logs", "s3://example-logs?secret=hush",
        "s3://example-logs/agents#hush", "file:///tmp/agents", "https://example.com/agents",
    ],
)  # fmt: skip
def test_urls_that_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(MalformedConfigError) as caught:
        open_bucket(url)
    assert "hush" not in str(caught.value) + str(caught.value.evidence())


def test_without_tls_only_this_machine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in ("http://127.0.0.1:9000", "http://localhost:9000", "https://objects.example.com"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        open_bucket("s3://example-logs")
    for endpoint in ("http://objects.example.com", "http://key:hush@127.0.0.1", "ftp://127.0.0.1"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(MalformedConfigError) as caught:
            open_bucket("s3://example-logs")
        assert caught.value.member == "AWS_ENDPOINT_URL"
        assert "hush" not in str(caught.value)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError) as caught:
        open_bucket("s3://example-logs")
    assert caught.value.extra == "objects"
