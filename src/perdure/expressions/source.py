"""The text of an expression before it is a tree: limits, brackets, where `${ … }` ends, parsing, and offsets of nodes.

Rule 1: Python's parser sees no text that this module has not bounded in length and depth.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings

from perdure.expressions.errors import ExpressionError

SOURCE_MAX = 10_000
"""Characters of one expression: far beyond what anyone reads, far below what Python's parser takes badly."""
BRACKETS_MAX = 60
"""How deep brackets may be nested in the source."""

_OPENING = {"(": ")", "[": "]", "{": "}"}
_CLOSING = {")": "(", "]": "[", "}": "{"}
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""'
    r"|'''(?:[^\\]|\\.)*?'''"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'(?:[^'\\\n]|\\.)*'"
    r"|[\"'(){}\[\]#\\]"
    r"|[^\x09\x0a\x0d\x20-\x7e]",
    re.DOTALL,
)
# "\d" is how people write patterns, `1if x else y` and `0xfor 1` are legal: whether and how Python warns of them must change
# nothing.
_WARNED_OF = re.compile(r"\\|[0-9a-fA-FjJ]\.?(?:and|else|for|if|in|is|not|or)\b")
_KEYWORD_FIELD = re.compile(rf"\.[ \t\n]*({'|'.join(keyword.kwlist)})(?![A-Za-z0-9_])")
_BEFORE_FIELD = re.compile(r"(?:(?<![A-Za-z0-9_])[A-Za-z_][A-Za-z0-9_]*|[)\]}\"'])[ \t\n]*\Z")
_FOREIGN = (
    (re.compile(r"&&"), "Write `and` instead of `&&`."),
    (re.compile(r"\|\|"), "Write `or` instead of `||`."),
    (re.compile(r"===|!=="), "Write `==` or `!=`."),
    (re.compile(r"\?\."), 'Write `get(x, "a.b", default)` instead of `x?.a.b`.'),
    (re.compile(r"\?\?"), "Write `coalesce(a, b)` instead of `a ?? b`."),
    (re.compile(r"\?"), "Write `a if condition else b` instead of `condition ? a : b`."),
    (re.compile(r"=>"), "Functions cannot be written here; use a comprehension: `[x.price for x in list]`."),
    (re.compile(r"!(?!=)"), "Write `not x` instead of `!x`."),
    (re.compile(r"\$"), "Inside `${ … }` names stand without `$`."),
    (re.compile(r"(?<![=!<>:])=(?!=)"), "Write `==` to compare; nothing can be assigned here."),
    (re.compile(r";"), "One expression only; there are no statements."),
    (re.compile(r"^\s*(import|from|def|class|return|for|while|with|try|raise|del|global|exec|print)\b"),
     "One expression only; there are no statements."),
)  # fmt: skip


def parse(source: str) -> tuple[ast.expr, str]:
    """The tree of an expression and the text its positions refer to (same length as `source`, one `(` in front).

    Raises ExpressionError `expression.syntax`, `expression.too_large` or `expression.forbidden`.
    """
    _bound(source)
    text = source.replace("\r", " ")
    tree = _parsed(text)
    if isinstance(tree, SyntaxError):
        mended = _with_keyword_fields(text)
        if mended != text:
            text, tree = mended, _parsed(mended)
    if isinstance(tree, SyntaxError):
        raise _not_an_expression(source, tree)
    return tree, text


def end_of_expression(text: str, start: int) -> int:
    """The position of the `}` that ends the expression which starts at `start`, just after `${`.

    Braces, brackets and strings inside are stepped over. Raises ExpressionError with its place in `text`.
    """
    depth = 0
    for match in _TOKEN.finditer(text, start, min(len(text), start + SOURCE_MAX + 1)):
        token = match.group()
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            if depth == 0 and token == "}":
                return match.start()
            depth -= 1
            if depth < 0:
                raise _unbalanced(text, match.start(), token)
        elif token in "\"'":
            raise _unterminated(text, match.start())
    if len(text) > start + SOURCE_MAX:
        raise _too_long(text, start)
    raise ExpressionError(
        "expression.syntax",
        "Expected a `}` that ends this `${`, but there is none.",
        "Close it, or write `$${` for a literal `${`.",
        text,
        start - 2,
    )


class Offsets:
    """Turns the line and UTF-8 column of tree nodes into characters from the start of the source."""

    __slots__ = ("_lines", "_plain")

    def __init__(self, text: str) -> None:
        self._plain = text.isascii() and "\n" not in text
        self._lines: list[tuple[int, str]] = []
        if not self._plain:
            start = 0
            for line in text.split("\n"):
                self._lines.append((start, line))
                start += len(line) + 1

    def at(self, line: int, column: int) -> int:
        """`line` counts from 1, `column` in bytes from 0; the first line has a `(` in front."""
        if line == 1:
            column = max(column - 1, 0)
        if self._plain:
            return column
        start, text = self._lines[min(line, len(self._lines)) - 1]
        return start + (column if text.isascii() else len(text.encode()[:column].decode(errors="ignore")))


def _bound(source: str) -> None:
    """Refuse what is too long or deep, or holds characters that have no business outside strings."""
    if len(source) > SOURCE_MAX:
        raise _too_long(source, 0)
    if not source.strip():
        raise ExpressionError("expression.syntax", "Expected an expression, but there is none.", "Write one.", source, 0)
    if "\0" in source:
        raise _strange_character(source, source.index("\0"), "\0")
    open_brackets: list[str] = []
    for match in _TOKEN.finditer(source):
        token = match.group()
        if token in _OPENING:
            open_brackets.append(token)
            if len(open_brackets) > BRACKETS_MAX:
                raise ExpressionError(
                    "expression.too_large",
                    f"Expected at most {BRACKETS_MAX} nested brackets, but here are more.",
                    "Split the expression over several nodes.",
                    source,
                    match.start(),
                )
        elif token in _CLOSING:
            if not open_brackets or open_brackets.pop() != _CLOSING[token]:
                raise _unbalanced(source, match.start(), token)
        elif token == '"' or token == "'":
            raise _unterminated(source, match.start())
        elif token == "#":
            raise ExpressionError(
                "expression.syntax",
                "Expected an expression, but found a comment.",
                "Put it into the definition's YAML.",
                source,
                match.start(),
            )
        elif token == "\\":
            raise ExpressionError(
                "expression.syntax",
                "Expected an expression, but found a backslash outside a string.",
                "Lines may be broken anywhere without one.",
                source,
                match.start(),
            )
        elif len(token) == 1:
            raise _strange_character(source, match.start(), token)
    if open_brackets:
        raise ExpressionError(
            "expression.syntax",
            f"Expected a closing `{_OPENING[open_brackets[-1]]}`, but the expression ends.",
            "Close every bracket.",
            source,
            len(source),
        )


def _parsed(text: str) -> ast.expr | SyntaxError:
    # The parentheses let an expression run over several lines, as in YAML blocks. `_bound` has seen that its brackets match.
    wrapped = f"({text}\n)"
    try:
        if _WARNED_OF.search(text):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(wrapped, mode="eval").body
        return ast.parse(wrapped, mode="eval").body
    except SyntaxError as error:
        return error
    except (RecursionError, MemoryError):
        raise ExpressionError(
            "expression.too_large",
            "Expected a smaller expression, but this is nested too deeply to be read.",
            "Split the expression over several nodes.",
            text,
            0,
        ) from None
    except UnicodeEncodeError as error:  # a lone surrogate inside a string
        raise ExpressionError(
            "expression.value",
            "Expected text, but a string holds half of a surrogate pair.",
            "Write the whole character.",
            text,
            max(error.start - 1, 0),
        ) from None


def _with_keyword_fields(text: str) -> str:
    """`mail.from` made readable for Python, which takes `from` for a keyword.

    With a full-width first letter it does not, and its parser turns that letter back into the plain one (NFKC, PEP 3131).
    The length stays, so that places stay right.
    """
    strings = [match.span() for match in _TOKEN.finditer(text) if len(match.group()) > 1]
    characters = list(text)
    for match in _KEYWORD_FIELD.finditer(text):
        dot, word = match.start(), match.start(1)
        if any(start <= dot < end for start, end in strings) or not _BEFORE_FIELD.search(text, max(0, dot - 100), dot):
            continue
        characters[word] = chr(ord(text[word]) + 0xFEE0)
    return "".join(characters)


def _not_an_expression(source: str, error: SyntaxError) -> ExpressionError:
    line, column = error.lineno or 1, (error.offset or 1) - 1
    if line == 1:
        column -= 1
    lines = source.split("\n")
    offset = sum(len(text) + 1 for text in lines[: line - 1]) + column
    offset = min(max(offset, 0), len(source))
    reason = str(error.msg).split(". Perhaps")[0].split(". Maybe")[0]
    remedy = "The language is a subset of Python expressions, such as `nodes.fetch.body.total > 1000`."
    for pattern, advice in _FOREIGN:
        habit = pattern.search(_without_strings(source))
        if habit is not None:
            remedy, offset = advice, habit.start()
            break
    return ExpressionError(
        "expression.syntax", f"Expected an expression, but there is a mistake: {reason}.", remedy, source, offset
    )


def _without_strings(source: str) -> str:
    """The source with blanks where its strings are."""
    return _TOKEN.sub(lambda match: " " * len(match.group()) if len(match.group()) > 1 else match.group(), source)


def _too_long(source: str, offset: int) -> ExpressionError:
    return ExpressionError(
        "expression.too_large",
        f"Expected an expression of at most {SOURCE_MAX:,} characters, but this is longer.",
        "Split it over several nodes, or move it into a `python` node.",
        source,
        offset,
    )


def _unbalanced(source: str, offset: int, token: str) -> ExpressionError:
    return ExpressionError(
        "expression.syntax", f"Expected matching brackets, but this `{token}` closes none.", "Remove it.", source, offset
    )


def _unterminated(source: str, offset: int) -> ExpressionError:
    return ExpressionError(
        "expression.syntax", "Expected a string to end on its line, but this one does not.", "Close the quote.", source, offset
    )


def _strange_character(source: str, offset: int, token: str) -> ExpressionError:
    if token.isprintable() and f"a{token}".isidentifier():
        return ExpressionError(
            "expression.forbidden",
            f"Expected names in plain letters, but {token!a} is none; look-alike letters would hide what is read.",
            f'Read such a field as a string: x["…{token}…"].',
            source,
            offset,
        )
    remedy = "Use plain quotes." if token in "‘’“”„" else "Remove it, or put it into a string."
    return ExpressionError(
        "expression.syntax", f"Expected an expression, but found the character {token!a}.", remedy, source, offset
    )
