"""`why`: an explanation in lines, each sentence above what it follows from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from perdure.cli import exits
from perdure.cli.reading import client
from perdure.cli.wording import GLYPHS, clock_text, date_text, json_line, one_line, value_text
from perdure.clock import SystemClock
from perdure.engine.names import time_text
from perdure.operations.explaining import Explanation, explain, explanation_object
from perdure.operations.reasons import Reason

_STATE_OF_FRAME = {"continued": "succeeded", "broken": "cancelled"}


def why(id: str, path: str, store: str | None, *, json: bool) -> int:
    """Why a node, or an execution, is as it is."""
    now = SystemClock().now()

    def moment(at: int) -> str:
        day, today = date_text(at), date_text(now)
        return day[11:] if day[:10] == today[:10] else day

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            found = await explain(executions, opened, execution, path, moment=time_text if json else moment)
        if json:
            print(json_line(explanation_object(found)))
        else:
            print("\n".join(_lines(found)))
        return exits.SUCCEEDED

    return asyncio.run(work())


def _lines(explanation: Explanation) -> Iterator[str]:
    glyph = GLYPHS.get(_STATE_OF_FRAME.get(explanation.state, explanation.state), "·")
    yield f"{glyph} {explanation.path or explanation.execution}  {explanation.state.replace('_', ' ')}"
    for reason in explanation.reasons:
        yield from _reason_lines(reason, "  ")


def _reason_lines(reason: Reason, indent: str) -> Iterator[str]:
    at = f"{clock_text(reason.at)}  " if reason.at and indent == "  " else ""
    yield f"{indent}{at}{one_line(reason.sentence)}"
    for name, value in reason.seen:
        yield f"{indent}    {one_line(f'{name} = {value_text(value, longest=200)}')}"
    if reason.remedy:
        yield f"{indent}    → {one_line(reason.remedy)}"
    for each in reason.because:
        yield from _reason_lines(each, f"{indent}    ")
