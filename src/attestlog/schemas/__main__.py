"""`python -m attestlog.schemas`: write the schema files anew from the types."""

from attestlog.schemas import KINDS, format_schema, schema_path

for kind in KINDS:
    schema_path(kind).write_text(format_schema(kind), encoding="utf-8")
