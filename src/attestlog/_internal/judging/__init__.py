"""How a line is judged: a fold over lines.

Rules and the state before go in; findings, facts and the state after come out.
It knows no path, no descriptor and no directory: the caller hands in the lines.
"""
