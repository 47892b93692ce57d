"""Which node types there are: the built-in ones, those of installed packages, and those of files beside the workflows.

The built-in ones are known by name and loaded when they are asked for, so that a workflow waits only for what it uses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from perdure.errors import Refused
from perdure.nodes.reference import DECORATED, WORK_ATTRIBUTE, file_reference, load_file
from perdure.nodes.work import Work

ENTRY_POINTS = "perdure.nodes"
FILE_NAME = "nodes.py"  # the file beside a definition that is taken without being named
OURS = "Perdure itself"
BUILT_IN = ("http", "notify", "python")  # modules of this package, each with WORK, named as the node type


class Works(Mapping[str, Work]):
    """Node types by name, in alphabetical order; a built-in one is loaded when it is asked for."""

    def __init__(self, brought: Mapping[str, Work]) -> None:
        self._loaded = dict(brought)
        self._names = dict.fromkeys(sorted((*BUILT_IN, *brought)))

    def __getitem__(self, name: str) -> Work:
        if name not in self._loaded and name in BUILT_IN:
            self._loaded[name] = importlib.import_module(f"perdure.nodes.{name}").WORK
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def discover(files: Iterable[str | Path] = (), *, reserved: Collection[str] = ()) -> Works:
    """All node types. `files`: files of nodes; `reserved`: names of the closed set.

    Raises Refused: `nodes.file` for a file that cannot be loaded (with its line), `nodes.package` for an installed package,
    `nodes.duplicate` for a name given twice, `nodes.reserved` for the name of a built-in or reserved node type.
    """
    works: dict[str, Work] = {}
    taken = dict.fromkeys((*BUILT_IN, *reserved), OURS)
    for origin, found in [*_packages(), *((str(path), from_file(path)) for path in _once(files))]:
        for work in found:
            name = work.spec.name
            if name in taken:
                raise _refused_name(name, origin, taken[name])
            taken[name] = origin
            works[name] = work
    return Works(works)


def file_beside(definition: str | Path) -> Path | None:
    """The `nodes.py` next to a definition file, if there is one."""
    path = Path(definition).resolve().parent / FILE_NAME
    return path if path.is_file() else None


def from_file(path: str | Path) -> list[Work]:
    """The nodes of a file, in the order of their names. Each carries the digest of the file's source in `spec.source`."""
    place = Path(path).resolve()
    module = load_file(place)
    digest: str = vars(module)["__perdure_digest__"]
    works = []
    for work in _of_module(module, own_only=True):
        name = work.reference.rpartition(":")[2]
        works.append(
            dataclasses.replace(
                work, spec=msgspec.structs.replace(work.spec, source=digest), reference=file_reference(place, name, digest)
            )
        )
    return works


def _packages() -> list[tuple[str, list[Work]]]:
    """What installed packages bring: an entry point names a module of nodes, or one decorated function."""
    found = []
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        origin = f"the entry point {entry.name} = {entry.value}"
        try:
            target = entry.load()
        except Exception as error:
            raise Refused(
                f"Expected to load {origin}, but {type(error).__name__}: {error}",
                remedy="Mend or uninstall the package that brings it.",
                code="nodes.package",
            ) from error
        of_function = [getattr(target, WORK_ATTRIBUTE, None)]
        works = _of_module(target, own_only=False) if isinstance(target, ModuleType) else of_function
        if not works or not all(isinstance(work, Work) for work in works):
            raise Refused(
                f"Expected {origin} to name a module of nodes or a function decorated with @node, but it does not.",
                remedy="Mend or uninstall the package that brings it.",
                code="nodes.package",
            )
        found.append((origin, [_with_source(work) for work in works if work is not None]))
    return found


def _with_source(work: Work) -> Work:
    module = sys.modules.get(work.reference.partition(":")[0])
    path = getattr(module, "__file__", None)
    if not path or not Path(path).is_file():
        return work
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return dataclasses.replace(work, spec=msgspec.structs.replace(work.spec, source=digest))


def _of_module(module: ModuleType, *, own_only: bool) -> list[Work]:
    """The nodes of a module, by name. One that another process could not find again by its function's name is refused."""
    functions: list[Callable[..., Any]] = list(vars(module).get(DECORATED, ()))
    if not own_only:  # a package's module may gather what others of its modules define
        functions += [value for value in vars(module).values() if inspect.isfunction(value) and value not in functions]
    works: dict[str, Work] = {}
    for function in functions:
        work = getattr(function, WORK_ATTRIBUTE, None)
        if not isinstance(work, Work):
            continue
        if work.spec.name in works:
            raise _refused_name(work.spec.name, _place(function), "another function there")
        if getattr(sys.modules.get(function.__module__, module), function.__qualname__, None) is not function:
            raise Refused(
                f"Expected {function.__name__} ({_place(function)}) at the top level of its file, the only one of its name, "
                "but another process would not find it there.",
                remedy="Move the function out, or rename it.",
                code="nodes.file",
            )
        works[work.spec.name] = work
    return [works[name] for name in sorted(works)]


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else repr(function)


def _once(files: Iterable[str | Path]) -> list[Path]:
    return list(dict.fromkeys(Path(file).resolve() for file in files))


def _refused_name(name: str, where: str, taken_by: str) -> Refused:
    return Refused(
        f"Expected a name of its own for each node type, but {where} brings {name!r}, which {taken_by} has.",
        remedy="Rename the node; a dotted name such as mycompany.charge never collides.",
        code="nodes.reserved" if taken_by == OURS else "nodes.duplicate",
    )
