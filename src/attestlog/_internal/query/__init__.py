"""Asking a log: filters, pages, figures, over an index that is derived and never trusted.

    filter.py     what can be asked, compiled; judges every entry that is returned
    glob.py       globs over names
    words.py      what text search takes for a word
    database.py   the SQLite file: places, opening, tables
    index.py      catching up with the log, making anew what does not fit it
    search.py     from a filter to entries, page by page
    stats.py      figures

Loads sqlite3, so `import attestlog` does not load this.
"""

from attestlog._internal.query.database import IndexPlace
from attestlog._internal.query.filter import (
    Filter,
    FilterMembers,
    parse_condition,
    parse_filter,
    parse_moment,
)
from attestlog._internal.query.index import Index
from attestlog._internal.query.search import Page, Search, query_log, query_log_async, query_page
from attestlog._internal.query.stats import Stats, stats

__all__ = [
    "Filter",
    "FilterMembers",
    "Index",
    "IndexPlace",
    "Page",
    "Search",
    "Stats",
    "parse_condition",
    "parse_filter",
    "parse_moment",
    "query_log",
    "query_log_async",
    "query_page",
    "stats",
]
