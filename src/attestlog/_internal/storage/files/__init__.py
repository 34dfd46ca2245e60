"""The embedded store: one directory. `layout` names every file; nothing outside this room knows them."""
