"""The documentation is true: links lead somewhere, code blocks that ask for it are run, tables agree with the code."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from perdure.settings import Settings, settings_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SECONDS_MAX = 120  # for one block; a page that needs longer is no page to read

_FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<ticks>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=ticks)[ \t]*$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[(?:[^\]\\]|\\.)*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced code block: its language, what is to be done with it, under which name it is kept, and where it stands."""

    language: str
    deed: str
    title: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order, without the indentation they have in lists."""
    found = []
    for match in _FENCE.finditer(page):
        info = match["info"].strip()
        words = re.sub(r'\w+="[^"]*"', "", info).split()
        title = re.search(r'title="([^"]+)"', info)
        text = "".join(line.removeprefix(match["indent"]) for line in match["text"].splitlines(keepends=True))
        line = page.count("\n", 0, match.start()) + 1
        found.append(
            Block(words[0] if words else "", words[1] if len(words) > 1 else "", title[1] if title else "", text, line)
        )
    return found


def run_page(page: Path, folder: Path) -> list[str]:
    """Do what the blocks of a page ask for, in order, in `folder`; a sentence for each that fails."""
    found = []
    for block in blocks(page.read_text()):
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        fault = _run(block, folder) if block.deed else ""
        if fault:
            found.append(f"{page.name}:{block.line}: {fault}")
    return found


def _run(block: Block, folder: Path) -> str:
    match block.language, block.deed:
        case "yaml", "check":
            file = folder / (block.title or f"line-{block.line}.yaml")
            file.write_text(block.text)
            return _command([sys.executable, "-m", "perdure", "check", str(file)], folder)
        case "python", "run":
            file = folder / (block.title or f"line_{block.line}.py")
            file.write_text(block.text)
            return _command([sys.executable, str(file)], folder)
        case "console", "run":
            return next(
                filter(None, (_command(["bash", "-c", line], folder, wanted) for line, wanted in _session(block.text))), ""
            )
    return f"Expected `yaml check`, `python run` or `console run`, but got `{block.language} {block.deed}`."


def _session(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is written below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, wanted = part.partition("\n")
        while command.endswith("\\"):
            more, _, wanted = wanted.partition("\n")
            command = command[:-1] + more
        yield command, wanted


def _command(command: list[str], folder: Path, wanted: str = "") -> str:
    """Run one command; why it is not as it should be, or nothing."""
    paths = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    environ = {**os.environ, "PATH": os.pathsep.join(paths), "COLUMNS": "120", "NO_COLOR": "1"}
    result = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    if result.returncode:
        return f"Expected exit code 0, but `{command[-1]}` ended with {result.returncode}:\n{result.stdout[-2000:]}"
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if wanted.strip() and not doctest.OutputChecker().check_output(wanted, result.stdout, flags):
        return f"Expected `{command[-1]}` to print\n{wanted}\nbut it printed\n{result.stdout[-2000:]}"
    return ""


def dead_links(root: Path) -> list[str]:
    """Links between pages under `root` that lead to no file, or to no heading of it."""
    found = []
    ignored = {".peers", ".venv", "site", "node_modules"}
    tops = [top for top in root.iterdir() if top.name not in ignored]  # environments hold too many files to walk through
    below = (page for top in tops for page in ((top,) if top.suffix == ".md" else top.rglob("*.md")))
    pages = sorted(page for page in below if not ignored & set(page.relative_to(root).parts))
    for page in pages:
        prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
        for match in _LINK.finditer(prose):
            target, _, anchor = match["target"].partition("#")
            if re.match(r"[a-z]+:", match["target"]):
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists():
                found.append(f"{page.relative_to(root)}: {match['target']} leads to no file")
            elif anchor and anchor not in _anchors(file):
                found.append(f"{page.relative_to(root)}: {match['target']} leads to no heading")
    return found


def _anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def unlisted_decisions(folder: Path) -> list[str]:
    """Decision pages whose number is not their own, that the README does not list, or that lack a part."""
    readme = (folder / "README.md").read_text()
    found = []
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    for number, page in enumerate(pages, 1):
        text = page.read_text()
        if not page.name.startswith(f"{number:04}-") or not text.startswith(f"# {number:04}: "):
            found.append(f"{page.name}: Expected the number {number:04} in its name and title.")
        if f"]({page.name})" not in readme:
            found.append(f"{page.name}: not listed in README.md")
        parts = ("Status: ", "## The question", "## The decision", "## What lost", "## What follows")
        found += [f"{page.name}: has no “{part.strip('# ')}”" for part in parts if part not in text]
    return found


def unread_settings(names: list[str], source: Path) -> list[str]:
    """Settings that no file under `source` reads (`settings.slots`)."""
    code = "".join(file.read_text() for file in sorted(source.rglob("*.py")))
    return [name for name in names if not re.search(rf"settings\.{name}\b", code)]


GUIDE = [ROOT / "README.md", *sorted((DOCS / "guide").rglob("*.md"))]


def test_links_lead_somewhere() -> None:
    """Every link in the project's pages leads to a file that exists, and to a heading in it."""
    assert dead_links(ROOT) == []


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_guide_is_true(page: Path, tmp_path: Path) -> None:
    """Each block of the README or a guide page that asks to be run does what the page says."""
    assert run_page(page, tmp_path) == []


def test_decisions_are_whole_and_listed() -> None:
    """Decision pages are numbered without gaps, have all their parts and are listed."""
    assert unlisted_decisions(DOCS / "decisions") == []


def test_the_settings_page_agrees_with_the_code() -> None:
    """The reference of settings holds exactly the table that `perdure.settings` gives."""
    page = (DOCS / "reference" / "settings.md").read_text()
    assert page[page.index("| Setting |") :] == settings_table()


def test_every_setting_is_read() -> None:
    """No setting is documented that changes nothing."""
    assert unread_settings(list(Settings.model_fields), ROOT / "src") == []


def test_a_setting_that_nobody_reads_is_noticed(tmp_path: Path) -> None:
    """A setting counts as read where it is asked for by name, not where another one begins alike."""
    (tmp_path / "home.py").write_text("limit = self.settings.slots\nother = settings.store_path\n")
    assert unread_settings(["slots", "store"], tmp_path) == ["store"]


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    """A missing file and a missing heading are found; code, other hosts and good links are left alone."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "there.md").write_text("# A heading, with `code`\n")
    (tmp_path / "page.md").write_text(
        "[a](deep/there.md) [b](deep/there.md#a-heading-with-code) [c](https://example.org/x) `[d](nowhere.md)`\n"
        "```text\n[e](nowhere.md)\n```\n[f](gone.md) ![g](gone.svg) [h](deep/there.md#other)\n"
    )
    assert dead_links(tmp_path) == [
        "page.md: gone.md leads to no file",
        "page.md: gone.svg leads to no file",
        "page.md: deep/there.md#other leads to no heading",
    ]


def test_blocks_run_in_order_in_one_folder(tmp_path: Path) -> None:
    """A titled block is there for the blocks after it; a block without a word for it is not run."""
    page = tmp_path / "page.md"
    page.write_text(
        '1. First:\n\n    ```python title="two.py"\n    TWO = 2\n    ```\n\n'
        '```python run\nimport two\nassert two.TWO == 2\nopen("seen", "w").write("yes")\n```\n'
        "```python\nraise SystemExit(1)\n```\n"
        "```console run\n$ cat seen; echo\nyes\n$ echo one \\\n  two three\none ... three\n```\n"
    )
    assert [(block.language, block.deed, block.title) for block in blocks(page.read_text())] == [
        ("python", "", "two.py"),
        ("python", "run", ""),
        ("python", "", ""),
        ("console", "run", ""),
    ]
    assert run_page(page, tmp_path) == []


@pytest.mark.parametrize(
    "block, sentence",
    [
        ("```python run\nraise SystemExit(3)\n```\n", "ended with 3"),
        ("```console run\n$ true\n$ false\n```\n", "`false` ended with 1"),
        ("```console run\n$ echo four\nfive\n```\n", "Expected `echo four` to print"),
        ("```ruby run\nputs 1\n```\n", "but got `ruby run`"),
    ],
)
def test_a_block_that_fails_is_noticed(tmp_path: Path, block: str, sentence: str) -> None:
    """A block that ends badly, prints something else or cannot be run is named with its line and reason."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n" + block)
    faults = run_page(page, tmp_path)
    assert len(faults) == 1
    assert faults[0].startswith("page.md:3: ")
    assert sentence in faults[0]


@pytest.mark.parametrize(
    "definition, accepted",
    [
        ("perdure: 1\nname: good\nnodes:\n  say: {type: log, message: hello}\n", True),
        ("perdure: 1\nname: bad\nnodes:\n  say: {type: lgo, message: hello}\n", False),
    ],
)
def test_a_definition_in_the_guide_is_checked(tmp_path: Path, definition: str, accepted: bool) -> None:
    """A definition that the checker refuses fails its page; one that it accepts does not."""
    page = tmp_path / "page.md"
    page.write_text(f"```yaml check\n{definition}```\n")
    assert (run_page(page, tmp_path) == []) is accepted


def test_a_decision_that_is_not_whole_is_noticed(tmp_path: Path) -> None:
    """A gap in the numbers, a page that is not listed and a part that is missing are found."""
    (tmp_path / "README.md").write_text("[one](0001-a.md)\n")
    parts = "Status: decided.\n## The question\n## The decision\n## What lost\n## What follows\n"
    (tmp_path / "0001-a.md").write_text(f"# 0001: A\n{parts}")
    (tmp_path / "0003-b.md").write_text(f"# 0003: B\n{parts.replace('## What lost', '')}")
    assert unlisted_decisions(tmp_path) == [
        "0003-b.md: Expected the number 0002 in its name and title.",
        "0003-b.md: not listed in README.md",
        "0003-b.md: has no “What lost”",
    ]
