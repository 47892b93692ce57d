"""The command line: `perdure run`, `check`, `list`, `show` and the rest; one file per group of commands."""

from __future__ import annotations

import gc
import io
import sys


def main() -> None:
    """The entry point of the `perdure` command."""
    gc.set_threshold(50_000, 20, 100)  # loading modules leaves no garbage behind; looking for it is a tenth of every start
    from perdure.cli.commands import run_command_line

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name, or a poor locale: no reason to break off
    sys.exit(run_command_line(sys.argv[1:]))
