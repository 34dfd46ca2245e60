"""Print every attempt: who, what they try, whether it is prevented, and what is seen.

python -m tests.attacks
"""

from tests.attacks.everything import ATTEMPTS


def main() -> None:
    for called, one in ATTEMPTS.items():
        said = f"{one.seen}; one file: {one.one_file or 'does not judge it'}"
        print(f"{called}\n    {one.tries}\n    {one.outcome}: {said}")


if __name__ == "__main__":
    main()
