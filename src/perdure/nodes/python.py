"""The node `python`: a piece of code in a sandbox that can reach neither files nor network, always within limits."""

from __future__ import annotations

import atexit
from typing import Annotated, Any

import pydantic_monty as monty
from pydantic import Field

from perdure.definition.spec import Example
from perdure.nodes.decorator import node, work_of
from perdure.nodes.work import Context, Failed

CODE_CHARACTERS_MAX = 100_000
SECONDS = 60.0  # the default of max_seconds; code that needs longer says so
MEGABYTES = 256  # the default of max_memory_mb
RECURSION_MAX = 500
SUSPENSIONS_MAX = 1_000
PRINTED_BYTES_MAX = 64 << 10
RESULT = "result"  # the name whose value is the output when the code does not end in an expression

_NAME = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)]

_interpreters: list[monty.Monty] = []  # at most one, kept warm in each process of the pool

EXAMPLES = (
    Example(
        title="Compute something from the input",
        definition={
            "perdure": 1,
            "name": "discount",
            "input": {"type": "object", "required": ["prices"], "properties": {"prices": {"type": "array"}}},
            "nodes": {
                "compute": {
                    "type": "python",
                    "with": {
                        "code": "total = sum(prices)\ntotal * 90 // 100 if total > 100 else total",
                        "inputs": {"prices": "${ input.prices }"},
                    },
                }
            },
            "output": "${ nodes.compute }",
        },
        input={"prices": [60, 60]},
        output=108,
    ),
    Example(
        title="Assign the outcome to `result`",
        definition={
            "perdure": 1,
            "name": "count-words",
            "nodes": {
                "count": {
                    "type": "python",
                    "with": {
                        "code": "result = {}\nfor word in text.split():\n    result[word] = result.get(word, 0) + 1",
                        "inputs": {"text": "to be or not to be"},
                    },
                }
            },
            "output": "${ nodes.count }",
        },
        output={"to": 2, "be": 2, "or": 1, "not": 1},
    ),
)


@node("python", title="Python code", group="code", examples=EXAMPLES)
def python(
    code: Annotated[str, Field(min_length=1, max_length=CODE_CHARACTERS_MAX)],
    context: Context,
    *,
    inputs: dict[_NAME, Any] | None = None,
    max_seconds: Annotated[float, Field(gt=0, le=86_400)] = SECONDS,
    max_memory_mb: Annotated[int, Field(ge=1, le=16_384)] = MEGABYTES,
) -> Any:
    """Run a piece of Python in a sandbox.

    The output is the value of the last expression, or what the code assigns to `result`. The sandbox is a subset of Python
    (no inheritance, no `yield`, few modules) without files, network, environment or packages; for those write your own node.
    What the code prints goes to the execution's log.

    Args:
        code: What to run.
        inputs: Names the code finds, with their values.
        max_seconds: Computing time, at most; beyond it `python.time_limit`.
        max_memory_mb: Memory for values, in megabytes; beyond it `python.memory_limit`.
    """
    limits: monty.ResourceLimits = {
        "max_feed_duration_secs": max_seconds,
        "max_turn_duration_secs": max_seconds,
        "max_total_sleep_secs": max_seconds,
        "max_memory": max_memory_mb << 20,
        "max_recursion_depth": RECURSION_MAX,
        "max_suspensions": SUSPENSIONS_MAX,
    }
    printed = monty.CollectString(max_bytes=PRINTED_BYTES_MAX)
    try:
        with _interpreter().checkout(limits=limits, script_name="code.py") as session:
            value = session.feed_run(code, inputs=inputs or {}, print_callback=printed)
            if value is None and RESULT in code:
                value = _assigned(session)
            return value
    except monty.MontySyntaxError as error:
        raise _syntax(error, str(error)) from None
    except monty.MontyRuntimeError as error:
        raise _runtime(error) from None
    except monty.MontyConversionError as error:
        raise Failed(
            "params.invalid", f"Expected inputs that the sandbox can hold, but {error}", category="validation", retryable=False
        ) from None
    except monty.MontyCrashedError as error:
        if error.timed_out:
            raise _late(str(error)) from None
        raise Failed("python.crashed", f"Expected the sandbox to answer, but {error}") from None
    finally:
        for line in printed.output.splitlines():
            context.log(line, source="print")


WORK = work_of(python)
SPEC = WORK.spec


def _interpreter() -> monty.Monty:
    if not _interpreters:
        interpreter = monty.Monty(min_processes=1, max_processes=1)
        interpreter.__enter__()
        atexit.register(interpreter.__exit__, None, None, None)
        _interpreters.append(interpreter)
    return _interpreters[0]


def _assigned(session: monty.MontySession) -> Any:
    """The value of `result`, None where the code never assigned it."""
    try:
        return session.feed_run(RESULT)
    except monty.MontyRuntimeError as error:
        if isinstance(error.exception(), NameError):
            return None
        raise


def _syntax(error: monty.MontySyntaxError | monty.MontyRuntimeError, message: str) -> Failed:
    frames = error.traceback()
    line, column = (frames[-1].line, frames[-1].column) if frames else (0, 0)
    return Failed(
        "python.syntax",
        f"Expected Python that the sandbox can run, but line {line}, column {column}: {message}",
        category="validation",
        retryable=False,
        data={"line": line, "column": column},
    )


def _late(message: str) -> Failed:
    return Failed("python.time_limit", f"Expected the code to end in time, but {message}", category="timeout", retryable=False)


def _runtime(error: monty.MontyRuntimeError) -> Failed:
    """What the code raised. Its limits have codes of their own, so that nothing is retried in vain."""
    inner = error.exception()
    message = str(inner)
    if isinstance(inner, NotImplementedError) and "syntax parser" in message:
        return _syntax(error, message)
    if isinstance(inner, TimeoutError) and "limit exceeded" in message:
        return _late(message)
    if isinstance(inner, MemoryError):
        return Failed("python.memory_limit", f"Expected the code to need less memory, but {message}", retryable=False)
    frames = error.traceback()
    return Failed(
        "python.exception",
        error.display("type-msg")[:300],
        detail=error.display("traceback").replace("<python-input-0>", "code"),
        data={"type": type(inner).__name__, "message": message[:300], "line": frames[-1].line if frames else 0},
    )
