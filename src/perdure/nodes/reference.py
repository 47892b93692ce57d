"""How a node's function is found again in another process: references, and files of nodes loaded under names of their own.

A reference is `package.module:function` or `file:<absolute path>:function@<digest>`. The digest is that of the file's source,
so that a process which starts later never runs other code than was checked and recorded (day-one 10).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from perdure.errors import Refused

WORK_ATTRIBUTE = "__perdure_work__"  # where the decorator leaves the Work on the function it decorates
DECORATED = "__perdure_nodes__"  # the module's decorated functions, in order: one that a later `def` hides is noticed
FILE_PREFIX = "file:"
FILE_BYTES_MAX = 4 << 20  # source code; a larger file is data that ended up in the wrong place


def resolve(reference: str) -> Any:
    """What the reference names. Raises Refused `nodes.reference` or `nodes.file`, with what to do."""
    if reference.startswith(FILE_PREFIX):
        place, _, digest = reference.removeprefix(FILE_PREFIX).rpartition("@")
        path, _, name = place.rpartition(":")
        module = load_file(Path(path), expected=digest)
    else:
        module_name, _, name = reference.rpartition(":")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise Refused(
                f"Expected to import {module_name!r} for a node, but {type(error).__name__}: {error}",
                remedy="Install the package in the environment that Perdure runs in.",
                code="nodes.reference",
            ) from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise Refused(
            f"Expected {name!r} in {module.__name__}, but it is not there.",
            remedy="Keep the functions of nodes at the top level of their module, under their own names.",
            code="nodes.reference",
        )
    return found


def file_reference(path: Path, name: str, digest: str) -> str:
    """The reference of a function of a file."""
    return f"{FILE_PREFIX}{path}:{name}@{digest}"


def load_file(path: Path, *, expected: str = "") -> ModuleType:
    """The module of a file of nodes, loaded once per source: `module.__perdure_digest__` is the SHA-256 of that source.

    Raises Refused `nodes.file` that names the file and the line, or `nodes.changed` if the digest is not the expected one.
    """
    path = Path(os.path.abspath(path))
    source = _read(path)
    digest = hashlib.sha256(source).hexdigest()
    if expected and digest != expected:
        raise Refused(
            f"Expected {path.name} as it was when it was loaded, but it has changed since.",
            remedy="Restart Perdure, so that checks, records and processes all see the same code.",
            code="nodes.changed",
        )
    name = f"perdure_nodes_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}_{digest[:8]}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    vars(module)["__perdure_digest__"] = digest
    sys.modules[name] = module  # before it runs: dataclasses and type hints look their module up by name
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = _line_of(error, path)
        place = f"{path}, line {line}" if line else str(path)
        raise Refused(
            f"Expected a file of nodes, but {place}: {type(error).__name__}: {_message(error)}",
            remedy="Mend the file, or take it away. It is loaded alone: what it imports must be installed.",
            code="nodes.file",
        ) from error
    return module


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Refused(
                f"Expected at most {FILE_BYTES_MAX} bytes of source, but {path} is larger.",
                remedy="Keep data out of the file of nodes.",
                code="nodes.file",
            )
        return path.read_bytes()
    except OSError as error:
        raise Refused(
            f"Expected to read the file of nodes {path}, but {error.strerror or error}.",
            remedy="Check the path and its permissions.",
            code="nodes.file",
        ) from error


def _line_of(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 0
    lines = [frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else 0


def _message(error: BaseException) -> str:
    return (error.msg or "") if isinstance(error, SyntaxError) else str(error)
