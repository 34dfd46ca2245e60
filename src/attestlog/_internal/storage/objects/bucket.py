"""A bucket, or what is below a prefix of it: objects that are made once, and one that is swapped.

    bucket = open_bucket("s3://audit-logs/agents")

Every object is created with If-None-Match, so that nothing is overwritten, and
what is swapped is swapped with If-Match, so that of two who do it one fails. There are
no locks. Many stores that speak this protocol ignore one of these conditions:
`check_conditions` finds it out by trying, and refuses them.

An answer can be lost after the store did what it was asked. The next try then
meets its own object: what is there is compared byte for byte, and the same
bytes are success.

Credentials, region and endpoint are the usual variables (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL), never part of the URL.
Without TLS only this very machine is asked.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from attestlog._internal.net import parse_url
from attestlog._internal.storage.files.layout import is_object_url
from attestlog._internal.storage.publishing_target import Listed
from attestlog.errors import (
    ConflictError,
    ConsistencyError,
    DeniedError,
    MalformedConfigError,
    MalformedTileError,
    MissingExtraError,
    NotFoundError,
    StorageError,
)

REQUEST_TIME_MAX_S: Final = 20
"""For one answer, of a few kilobytes."""

CONNECT_TIMEOUT_S: Final = 5

RETRIES_MAX: Final = 5
RETRY_TIME_MAX_S: Final = 60
"""For one request and all its repetitions, before a failure that may pass is taken for one."""

MESSAGE_MAX: Final = 200
"""Characters of the library's messages, which are dumps of many lines."""

PROBE_PREFIX: Final = ".attestlog-probe-"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_MEMBER: Final = "object storage URL"
_ENDPOINT: Final = "AWS_ENDPOINT_URL"


class Found(NamedTuple):
    """An object as it was read."""

    data: bytes
    tag: str
    """What to name for swapping it."""


class Bucket:
    """Objects below one prefix, by the names that follow it. Threads may share it. Use `open_bucket`."""

    def __init__(self, url: str, store: Any) -> None:
        self.url = url
        self._store, self._library = store, _library()
        missing = self._library.exceptions.NotFoundError
        self._missing = (missing, FileNotFoundError)
        kinds = self._library.exceptions
        self._refused = (kinds.AlreadyExistsError, kinds.PreconditionError)

    def read(self, name: str, size_max_bytes: int) -> Found:
        """One object. Raises NotFoundError, MalformedTileError if it is larger, StorageError."""
        with self._errors(name):
            got = self._library.get(self._store, name)
            if got.meta["size"] > size_max_bytes:
                raise MalformedTileError(
                    f"{self.place(name)} is larger than {size_max_bytes} bytes",
                    path=self.place(name), expected=size_max_bytes,
                )  # fmt: skip
            return Found(bytes(got.bytes()), str(got.meta["e_tag"]))

    def size(self, name: str) -> int:
        """Bytes of an object. Raises NotFoundError, StorageError."""
        with self._errors(name):
            return int(self._library.head(self._store, name)["size"])

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """These bytes of an object, or what it has of them. Raises NotFoundError, StorageError."""
        with self._errors(name):
            return bytes(self._library.get_range(self._store, name, start=start, end=stop))

    def create(self, name: str, data: bytes, attributes: Mapping[str, str] | None = None) -> bool:
        """Have `data` under `name`: False if it was there already.

        Raises ConsistencyError if there is an object of this name with another content, StorageError.
        """
        with self._errors(name):
            try:
                self._put(name, data, "create", attributes)
            except self._refused:
                self._compare(name, data)
                return False
            return True

    def swap(self, name: str, old: Found | None, data: bytes, attributes: Mapping[str, str]) -> Found:
        """Put `data` in the place of what was read, or of nothing.

        Raises ConflictError if something else is there by now, StorageError: then what is there is the old
        or the new.
        """
        mode = "create" if old is None else {"e_tag": old.tag}
        try:
            with self._errors(name):
                tag = self._put(name, data, mode, attributes)
        except StorageError as error:
            # The store may have done it, and its answer be lost; or the library's second try met the first.
            with suppress(StorageError, MalformedTileError):
                found = self.read(name, len(data))
                if found.data == data:
                    return found
            raise error from None
        return Found(data, tag)

    def delete(self, names: Sequence[str]) -> None:
        """Have no objects of these names. Raises StorageError."""
        with self._errors(names[0]), suppress(*self._missing):
            self._library.delete(self._store, list(names))

    def names(self, prefix: str) -> Iterator[Listed]:
        """Every object whose name begins with these whole parts, in no order. Raises StorageError."""
        with self._errors(prefix):
            for listed in self._library.list(self._store, prefix):
                for one in listed:
                    yield Listed(str(one["path"]), one["last_modified"].timestamp())

    def check_conditions(self) -> None:
        """Raises StorageError for a store that ignores conditions.

        Leaves nothing; a kill leaves one small object, whose name nobody reads.
        """
        name = PROBE_PREFIX + secrets.token_hex(8)
        try:
            first = self.swap(name, None, b"1", {})
            self._expect_refusal("If-None-Match", "what was published could be overwritten", name, "create")
            self.swap(name, first, b"3", {})
            self._expect_refusal(
                "If-Match", "two publishers could overwrite each other", name, {"e_tag": first.tag}
            )
            if self.read(name, 1).data != b"3":
                raise StorageError(f"{self.url}: the store does not give back what was written last")
        except NotFoundError:
            raise NotFoundError(f"{self.url}: there is no such bucket", url=self.url) from None
        finally:
            with suppress(StorageError):
                self.delete([name])

    def place(self, name: str) -> str:
        """The whole URL of an object."""
        return f"{self.url}/{name}"

    def _expect_refusal(self, header: str, danger: str, name: str, mode: Any) -> None:
        with self._errors(name):
            try:
                self._put(name, b"2", mode)
            except self._refused:
                return
        raise StorageError(f"{self.url}: the store ignores {header}: {danger}", url=self.url, name=header)

    def _put(self, name: str, data: bytes, mode: Any, attributes: Mapping[str, str] | None = None) -> str:
        more = {"attributes": dict(attributes)} if attributes else {}
        return str(
            self._library.put(self._store, name, data, mode=mode, use_multipart=False, **more)["e_tag"]
        )

    def _compare(self, name: str, data: bytes) -> None:
        place = self.place(name)
        try:
            found = self.read(name, len(data)).data
        except MalformedTileError:
            raise ConsistencyError(
                f"{place} was published with another content", path=place, expected=sha256(data).hexdigest()
            ) from None
        if found != data:
            raise ConsistencyError(
                f"{place} was published with another content",
                path=place, expected=sha256(data).hexdigest(), found=sha256(found).hexdigest(),
            )  # fmt: skip

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """The library's errors as ours."""
        kinds, place = self._library.exceptions, self.place(name)
        try:
            yield
        except self._missing:
            raise NotFoundError(f"{place} is missing", path=place) from None
        except self._refused:
            raise ConflictError(f"{place} was changed by somebody else", path=place, retryable=True) from None
        except (kinds.PermissionDeniedError, kinds.UnauthenticatedError):
            raise DeniedError(
                f"{place}: the store refuses access with these credentials", url=place
            ) from None
        except kinds.BaseError as error:
            raise StorageError(
                f"{place} cannot be used: {_first_line(error)}", path=place, retryable=True
            ) from None


def open_bucket(url: str, *, request_time_max_s: int = REQUEST_TIME_MAX_S) -> Bucket:
    """The bucket and prefix that a URL names. Nothing is asked of the store yet.

    `request_time_max_s`: for one answer, which is of a few kilobytes by default.
    Raises MalformedConfigError for another URL, for one with credentials or options, and for an endpoint
    without TLS elsewhere than on this machine; MissingExtraError.
    """
    url = _checked(url)
    endpoint = os.environ.get(_ENDPOINT) or os.environ.get("AWS_ENDPOINT") or ""
    is_plain = _is_plain(endpoint)
    library = _library()
    try:
        store = import_module("obstore.store").from_url(
            url,
            client_options={
                "timeout": f"{request_time_max_s}s", "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
                "allow_http": is_plain,
            },
            retry_config={
                "max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_TIME_MAX_S),
            },
        )  # fmt: skip
    except (library.exceptions.BaseError, ValueError) as error:
        raise MalformedConfigError(f"{url}: {_first_line(error)}", member=_MEMBER) from None
    return Bucket(url, store)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if not is_object_url(url) or parts.username is not None or parts.password is not None:
        # Only the scheme is repeated: the rest may hold a secret.
        raise MalformedConfigError("want s3://BUCKET/PREFIX, without credentials", member=_MEMBER)
    if parts.query or parts.fragment:
        raise MalformedConfigError(
            "an object storage URL has no options: endpoint and region are environment variables",
            member=_MEMBER,
        )
    prefix = parts.path.strip("/")
    is_odd = any(part in {"", ".", ".."} for part in prefix.split("/")) if prefix else False
    if _NAME.fullmatch(parts.netloc) is None or is_odd:
        raise MalformedConfigError(f"{url[:MESSAGE_MAX]!r} is not s3://BUCKET/PREFIX", member=_MEMBER)
    return f"{parts.scheme}://{parts.netloc}/{prefix}".rstrip("/")


def _is_plain(endpoint: str) -> bool:
    """Whether the endpoint is without TLS. Raises MalformedConfigError if that is another machine."""
    return bool(endpoint) and parse_url(endpoint, what=_ENDPOINT, member=_ENDPOINT).scheme == "http"


def _library() -> Any:
    try:
        library = import_module("obstore")
        import_module("obstore.exceptions")
    except ImportError:
        raise MissingExtraError("object storage needs obstore", extra="objects") from None
    return library


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:MESSAGE_MAX]
