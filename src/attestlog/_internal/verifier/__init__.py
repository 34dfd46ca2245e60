"""The verifier in one file, `verify.py`, for whoever trusts no package: it shares no code with the rest.

Here it is only handed out. Nothing of attestlog imports it, and it imports nothing of attestlog.
"""

from importlib.resources import files


def source() -> str:
    """The text of `verify.py`."""
    return files(__name__).joinpath("verify.py").read_text(encoding="utf-8")
