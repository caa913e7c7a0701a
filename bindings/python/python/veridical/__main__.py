"""The command `veridical`, also as `python -m veridical`."""

import sys

from ._veridical import command


def main() -> int:
    """Does what the process's arguments say, and returns the exit code.

    NumPy is not imported on this way: its threads would be there before the command's, which block signals.
    """
    return command(["veridical", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
