"""`python -m tests.fuzz.run TARGET SECONDS FOLDER`: atheris on one target, from the corpus. See `make fuzz`.

atheris is not needed for anything else; it stays out of the development environment.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["attestlog"]):
    from tests.fuzz.corpus import seeds
    from tests.fuzz.targets import TARGETS


def main(name: str, seconds: str, folder: str) -> None:
    corpus = Path(folder) / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number:05}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=20000", "-timeout=10", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
