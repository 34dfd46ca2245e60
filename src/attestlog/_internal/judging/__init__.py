"""How a log is judged: a fold over its lines.

`scan` judges lines: rules, lines and a state go in; findings, facts and the
next state come out. `walk` joins what was scanned piece by piece into one pass
over a log, with the stored tree beside it (`stored`). At the top of each stand
the rules it keeps. `governance` judges one entry under the policy in force;
`conduct`, `erasures` and `relations` what entries say of themselves and of
others; `keys` which keys vouch for the log. `findings` lists every code.

Nothing here knows a path, a descriptor or a directory: a file, a replica's
shipment, a cursor or a list in a test feed the same judge.
"""
