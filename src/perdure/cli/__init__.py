"""The command line: `perdure run`, `check`, `list`, `show` and the rest; one file per group of commands."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """The entry point of the `perdure` command."""
    from perdure.cli.commands import run_command_line

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name, or a poor locale: no reason to break off
    sys.exit(run_command_line(sys.argv[1:]))
