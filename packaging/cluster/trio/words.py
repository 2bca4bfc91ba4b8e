"""What is said on stderr, and how a command ends."""

import sys
import time

# Exit codes, as `--help` tells them.
FAILED = 1
USAGE = 2
MISSING = 3

_BEGAN = time.monotonic()


class Failure(Exception):
    """Ends the command. The message says what to do."""

    def __init__(self, message: str, code: int = FAILED):
        super().__init__(message)
        self.code = code


def say(line: str) -> None:
    """Progress, for people."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {line}", file=sys.stderr, flush=True)


def ended(main) -> None:
    """Runs a command's `main` and exits with what became of it."""
    try:
        main()
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(130)
