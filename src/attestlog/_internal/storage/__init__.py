"""Where a log's bytes live. `layout` names the files; each driver keeps the Store contract."""
