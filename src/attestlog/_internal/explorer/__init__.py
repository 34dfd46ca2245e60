"""What people look at: a page that explores a log, and a report in one file. Both check themselves.

The pages are static files under `static/`, without a library and without a build: `verify.mjs` judges in the
reader's browser, under a key that the reader brings. Python only reads the log and hands out bytes.
"""
