"""Where ``rankdeck`` starts: hands the command line to ``cli`` and its answer to the shell."""

from __future__ import annotations

import sys

from console import cli


def main() -> int:
    """Run the command line of this process; its exit status."""
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
