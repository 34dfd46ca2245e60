"""Entries to other systems as they are committed: from a durable cursor, at least once, in order.

contract.py   a batch, and what a sink is asked
cursor.py     how far a sink is, and what became of it: durable, in this user's state
opening.py    which sink a URI names
http.py       OTLP over HTTP, and webhooks with signed bodies
syslog.py     RFC 5424 messages over TLS (RFC 5425)
file.py       a file that is appended to
shipper.py    the loop: take what is due, deliver it, remember it; fail, wait, and come back

Only what is durable in the log is shipped, so no sink has an entry that the log can lose. An entry's sequence
number is its key at the sink: after a crash the last batch may come again, and nothing else does.

What this is not: it judges nothing, and never holds up the log. An entry that was shipped before its payload
was erased stays at the sink: `exporting.made` names the sink to who erases.
"""
