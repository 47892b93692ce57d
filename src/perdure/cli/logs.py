"""What Perdure itself logs while a command runs: warnings and worse on stderr, in a line each."""

from __future__ import annotations

import logging
import os

from perdure.cli.exits import DEBUG


class OneLine(logging.Formatter):
    """`warning: …`; with PERDURE_DEBUG=1 also where an exception came from."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        if os.environ.get(DEBUG) and record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def log_to_stderr(*, verbose: bool) -> None:
    """Show warnings and errors, and with `verbose` what is going on."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    if not verbose:
        for chatty in ("apprise", "httpx"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
