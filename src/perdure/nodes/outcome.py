"""What comes back from a node, judged: an output that the journal can hold, or the failure that an exception stands for."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from perdure.errors import Failure
from perdure.nodes.work import DETAIL_CHARACTERS_MAX, Deferred, Failed

TITLE_CHARACTERS_MAX = 300
FRAMES_MAX = 8  # the innermost ones: where it happened, and who called

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def checked_output(value: Any) -> Any:
    """The value itself, if it may be an output (day-one 10) or is a `Deferred`; else raises Failed `output.invalid`."""
    from perdure.expressions import ValueRefused, check_value  # only here: a process of the pool starts without them

    if isinstance(value, Deferred):
        return value
    try:
        check_value(value, path="output")
    except ValueRefused as refused:
        raise Failed(
            "output.invalid",
            f"{refused.path}: {refused.message}",
            category="validation",
            retryable=False,
            ambiguous=True,
            data={"path": refused.path},
        ) from None
    return value


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception out of a node stands for: its own if it is `Failed`, else `node.exception`."""
    if isinstance(error, Failed):
        return error.failure
    name = type(error).__name__
    message = str(error).strip()
    return Failure(
        code="node.exception",
        title=_cut(f"{name}: {message}" if message else name, TITLE_CHARACTERS_MAX),
        category="technical",
        ambiguous=True,  # it may have done its work before it fell
        detail=_cut(short_traceback(error), DETAIL_CHARACTERS_MAX),
        data={"type": name, "message": _cut(message, TITLE_CHARACTERS_MAX)},
    )


def short_traceback(error: BaseException) -> str:
    """Where it happened, innermost call last, without our own frames and with paths that tell no more than they must."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_PACKAGE)]
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen ")]
    lines = [f"{short_path(frame.filename)}, line {frame.lineno}, in {frame.name}: {frame.line or ''}" for frame in frames]
    if len(lines) > FRAMES_MAX:
        lines = [f"… {len(lines) - FRAMES_MAX} calls further out", *lines[-FRAMES_MAX:]]
    lines.append("".join(traceback.format_exception_only(error)).strip())
    if error.__cause__ is not None:
        lines.append(f"caused by {''.join(traceback.format_exception_only(error.__cause__)).strip()}")
    return "\n".join(lines)


def short_path(path: str) -> str:
    """A source file's path from the import folder it lies in, else its last two parts."""
    for folder in sorted((folder for folder in sys.path if folder), key=len, reverse=True):
        if path.startswith(folder.rstrip(os.sep) + os.sep) and len(folder) > 1:
            return path[len(folder.rstrip(os.sep)) + 1 :]
    return os.sep.join(path.split(os.sep)[-2:])


def _cut(text: str, length: int) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= length else text[: length - 1] + "…"
