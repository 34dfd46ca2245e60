"""Entries in the forms that other tools read: an entry goes in, a record comes out.

contract.py     what a form is given of an entry, and the forms there are
choosing.py     which entries: the filters of a query, over the log's lines
ocsf.py, otlp.py, cloudevents.py, csv_rows.py, dsse.py, cose.py, parquet.py    one form each
keys.py         how the forms that are signed name keys
signing.py      who signs the forms that are signed
writing.py      entries into a file, streamed
made.py         what exports were made of a log, as far as this user's state knows
reading.py      what an exported file shows by itself

Each form is what a named version of somebody else's specification says, and docs/exports.md lists where each
member of an entry goes. Nothing here changes what an entry says: every record has its `entry_hash`, and all
forms but CSV and Parquet hold the canonical entry itself, or a JSON value whose canonical form it is.
"""
