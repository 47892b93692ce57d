"""The node `python`: what code gives, what it cannot reach, and that its limits hold."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.errors import Failure
from perdure.nodes import Context, Failed
from perdure.nodes.python import EXAMPLES, WORK


def run(code: str, **params: Any) -> Any:
    """The output of this code."""
    return WORK.run({"code": code, **params}, Context())


def failure(code: str, **params: Any) -> Failure:
    """The failure of this code."""
    with pytest.raises(Failed) as raised:
        run(code, **params)
    return raised.value.failure


@pytest.mark.parametrize(
    "code, output",
    [
        ("1 + 1", 2),
        ("x * 2", 6),
        ("result = x", 3),
        ("result = 1\nx", 3),
        ("result = [x]\nprint(x)", [3]),
        ("y = x", None),
        ("'result'\nNone", None),
        ("(1, {'a': 2})", [1, {"a": 2}]),
        ("import json\njson.loads('[1]')", [1]),
    ],
)
def test_the_output_is_the_last_expression_or_result(code: str, output: Any) -> None:
    """The last expression if it has a value, else what `result` holds, else null."""
    assert run(code, inputs={"x": 3}) == output


def test_each_run_starts_afresh() -> None:
    """Nothing of one run can be seen by the next."""
    run("leftover = 1")
    assert failure("leftover").data["type"] == "NameError"


def test_what_is_printed_goes_to_the_log() -> None:
    """Line by line, also when the code fails afterwards."""
    lines: list[str] = []
    context = Context(on_log=lambda message, level, data: lines.append(message))
    with pytest.raises(Failed):
        WORK.run({"code": "print('a')\nprint('b', 1)\n1 / 0"}, context)
    assert lines == ["a", "b 1"]


@pytest.mark.parametrize("code, line", [("x = 1\ny = = 2", 2), ("def f(:\n  pass", 1), ("\n\nyield 1", 3)])
def test_code_that_is_not_python_says_where(code: str, line: int) -> None:
    """`python.syntax` with line and column, never retried; what the sandbox does not know is syntax too."""
    failed = failure(code)
    assert (failed.code, failed.category, failed.retryable, failed.data["line"]) == ("python.syntax", "validation", False, line)


def test_an_exception_says_what_and_where() -> None:
    """Type, message and line are data that a workflow can decide by."""
    failed = failure("def f():\n    raise ValueError('no')\nf()")
    assert (failed.code, failed.title) == ("python.exception", "ValueError: no")
    assert failed.data == {"type": "ValueError", "message": "no", "line": 2}


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd').read()",
        "import os\nos.environ['HOME']",
        "import socket",
        "import subprocess",
        "__import__('os').getpid()",
    ],
)
def test_the_sandbox_reaches_nothing(code: str) -> None:
    """No files, no environment, no network, no processes."""
    assert failure(code).code == "python.exception"


@pytest.mark.parametrize("code", ["while True: pass", "sum(range(10**12))", "import time\ntime.sleep(100)"])
def test_computing_time_is_limited(code: str) -> None:
    """In Python, in C and asleep: `python.time_limit`."""
    failed = failure(code, max_seconds=0.05)
    assert (failed.code, failed.category, failed.retryable) == ("python.time_limit", "timeout", False)


@pytest.mark.parametrize("code", ["[0] * 10**9", "'x' * 10**9", "x = []\nwhile True: x.append('y' * 1000)"])
def test_memory_is_limited(code: str) -> None:
    """At once or little by little: `python.memory_limit`."""
    assert failure(code, max_memory_mb=8).code == "python.memory_limit"


def test_recursion_is_limited() -> None:
    """Endless recursion is an exception like others."""
    assert failure("def f(): return f()\nf()").data["type"] == "RecursionError"


@pytest.mark.parametrize("code", ["2**64", "float('nan')", "class A:\n  pass\nA()"])
def test_what_no_journal_can_hold_is_refused(code: str) -> None:
    """Overflow, NaN and objects are no output."""
    assert failure(code).code == "output.invalid"


@pytest.mark.parametrize(
    "params", [{"code": ""}, {"inputs": {"1x": 1}}, {"max_seconds": 0}, {"max_memory_mb": -1}, {"limits": None}]
)
def test_wrong_parameters_are_refused(params: dict[str, Any]) -> None:
    """Limits cannot be switched off, names must be names."""
    assert failure(**{"code": "1", **params}).code == "params.invalid"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_the_code_of_each_example_gives_its_output(example: Any) -> None:
    """What the examples promise is what the code gives."""
    (step,) = example.definition["nodes"].values()
    params = dict(step["with"])
    inputs = {name: example.input["prices"] if name == "prices" else value for name, value in params["inputs"].items()}
    assert WORK.run({**params, "inputs": inputs}, Context()) == example.output
