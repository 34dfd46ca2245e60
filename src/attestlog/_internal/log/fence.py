"""Asking others, when a log is opened for writing, what of it they have: the configuration's `fence`.

A fence is the base URL of something that gives out the log's checkpoint: the log as it is published, be it
in a bucket (`s3:`), a witness, or a replica (with the token of the configuration, if the log is sent there).
It is for machines that do not last, and for those that never wrote: they remember nothing themselves. It can
stop the log from being opened, and nothing more. A store on a server is asked about it again whenever it has
to connect again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attestlog._internal.config import LogConfig
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.core.replication import log_id
from attestlog._internal.last_signed import Signed
from attestlog.errors import AttestlogError, NotFoundError, StorageError


class Post(NamedTuple):
    """What one of them has."""

    url: str
    signed: Signed


def ask_fences(config: LogConfig, genesis: Genesis) -> tuple[list[Post], list[str]]:
    """What each of them has, and a sentence for each that could not be asked.

    Raises StorageError for the first that could not be asked, unless the configuration lets that pass.
    """
    posts: list[Post] = []
    unasked: list[str] = []
    for url in config.fence:
        try:
            checkpoint = open_log_checkpoint(_ask(url, config), genesis)
        except AttestlogError as error:
            what = f"fence {url} could not be asked: {error.message}"
            if not config.fence_optional:
                raise StorageError(what, url=url, name="fence") from error
            unasked.append(what)
        else:
            posts.append(Post(url, Signed(checkpoint.size, checkpoint.root.hex())))
    return posts, unasked


def _ask(url: str, config: LogConfig) -> bytes:
    for at in config.replicas:
        if at.url.rstrip("/") == url.rstrip("/"):
            from attestlog._internal.replication.client import ReplicaClient

            client = ReplicaClient(at, config.origin)
            try:
                return client.checkpoint()
            finally:
                client.close()
    from attestlog._internal.storage.published import open_files

    source, absent = open_files(url), None
    try:
        for name in _places(config.origin):
            try:
                return source.read(name, NOTE_SIZE_MAX_BYTES)
            except NotFoundError as error:
                absent = absent or error
    finally:
        source.close()
    assert absent is not None
    raise absent


def _places(origin: str) -> Iterator[str]:
    """Where a checkpoint stands below a published log, a witness and a replica."""
    yield "checkpoint"
    yield f"{hex_hash(origin.encode())}/checkpoint"
    yield f"logs/{log_id(origin)}/checkpoint"
