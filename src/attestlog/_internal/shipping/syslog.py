"""RFC 5424 messages over TLS (RFC 5425), one an entry, octet-counted.

    <PRI>1 TIMESTAMP HOST attestlog - EVENT_TYPE [meta sequenceId="N"] LINE

Facility 13 (log audit); severity by event_category; the message is the log's line, without a byte order mark.
A line that makes the message longer than the receiver takes is replaced by a summary that has the entry's
number and hash, and `left_out`: the line's size. `sequenceId` is the sequence number plus one, within 2^31 -
1.

RFC 5425 has no acknowledgement. So each batch has a connection of its own, which is ended in order: a
receiver that ends it too, without a reset, has read all that was sent. That it then kept it, only the
receiver knows.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final

import msgspec

from attestlog._internal.core.entry import EventCategory
from attestlog._internal.exporting.contract import About, Exported
from attestlog._internal.shipping.contract import Batch, Delivered
from attestlog._internal.version import VERSION
from attestlog.errors import SinkError

FACILITY: Final = 13
"""Log audit (RFC 5424, table 1)."""

SEVERITY: Final = {
    EventCategory.NORMAL: 6, EventCategory.WARNING: 4, EventCategory.ERROR: 3, EventCategory.CRITICAL: 2,
}  # fmt: skip
"""By event_category: informational, warning, error, critical."""

SIZE_MAX_BYTES: Final = 8_192
"""Of one message: what every receiver SHOULD take (RFC 5425, section 4.3.1)."""

PORT: Final = 6_514
TIMEOUT_S: Final = 30.0
"""For the connection, and of silence."""

_SEQUENCE_IDS: Final = 2**31 - 1
_NOT_NAME: Final = re.compile(r"[^!-~]")


class SyslogSink:
    """A syslog server."""

    form = "syslog"

    def __init__(
        self, name: str, host: str, port: int, tls: ssl.SSLContext, *, size_max: int = SIZE_MAX_BYTES
    ) -> None:
        self.name, self._address, self._tls, self._size_max = name, (host, port), tls, size_max
        self._host = _NOT_NAME.sub("", socket.gethostname())[:255] or "-"

    def deliver(self, batch: Batch) -> Delivered:
        """See `Sink.deliver`."""
        messages, shortened = [], 0
        for item in batch.items:
            text, is_short = message(item, batch.about, self._host, self._size_max)
            messages.append(b"%d %s" % (len(text), text))
            shortened += is_short
        if messages:
            self._send(b"".join(messages))
        return Delivered(shortened=shortened)

    def close(self) -> None:
        """See `Sink.close`."""

    def _send(self, data: bytes) -> None:
        try:
            with (
                socket.create_connection(self._address, TIMEOUT_S) as plain,
                self._tls.wrap_socket(plain, server_hostname=self._address[0]) as connection,
            ):
                connection.sendall(data)
                self._end(connection)
        except ssl.SSLCertVerificationError as error:
            raise SinkError(f"{self.name}: its certificate does not verify: {error.verify_message}") from None
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise SinkError(f"{self.name} cannot be reached: {reason}", retryable=True) from None

    @staticmethod
    def _end(connection: ssl.SSLSocket) -> None:
        """End it in order, and wait until the receiver does. Raises OSError where it is reset."""
        try:
            connection.unwrap()
        except ssl.SSLEOFError:
            pass  # it closed without a word of TLS: it has read everything, else this were a reset
        except ssl.SSLError as error:
            # It sent something before it ended: nobody asked for it, and it ended all the same.
            if "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" not in str(error):
                raise


def message(item: Exported, about: About, host: str, size_max: int) -> tuple[bytes, bool]:
    """The message of one entry, and whether it is a summary."""
    entry = item.entry
    priority = FACILITY * 8 + SEVERITY[entry.event_category]
    sequence_id = entry.sequence_number % _SEQUENCE_IDS + 1
    head = (
        f"<{priority}>1 {entry.timestamp} {host} attestlog - {entry.event_type}"
        f' [meta sequenceId="{sequence_id}"][origin software="attestlog" swVersion="{VERSION}"] '
    ).encode()
    if len(head) + len(item.line) <= size_max:
        return head + item.line, False
    return head + _summary(item, about), True


def _summary(item: Exported, about: About) -> bytes:
    entry = item.entry
    said = {
        "action_type": entry.action_type, "actor_id": entry.actor_id, "content": item.content,
        "entry_hash": entry.entry_hash, "entry_id": entry.entry_id, "event_type": entry.event_type,
        "execution_status": entry.execution_status, "left_out": len(item.line), "origin": about.origin,
        "sequence_number": entry.sequence_number, "timestamp": entry.timestamp,
    }  # fmt: skip
    return msgspec.json.encode(said)
