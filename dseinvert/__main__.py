"""The command: `dseinvert`, or `python -m dseinvert` where its script is not on the path."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C is told in a line from the first import on."""
    try:
        from dseinvert.cli.main import main as run
    except KeyboardInterrupt:
        print("dseinvert: stopped", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
