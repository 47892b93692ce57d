"""Values and texts from outside, checked: what the journal cannot keep is refused by its name and the place in it."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from perdure.engine.codec import INLINE_MAX, encode_value, handle_for
from perdure.errors import InputRefused
from perdure.expressions import ValueRefused, check_value


def checked(value: Any, what: str, *, payload_max: int) -> bytes:
    """The value in the journal's encoding. Raises InputRefused, naming what it is and the place in it."""
    try:
        check_value(value)
    except ValueRefused as refused:
        place = f"{what}.{refused.path}" if refused.path else what
        raise InputRefused(f"{place}: {refused.message}", remedy="Give a value that JSON can hold.") from refused
    body = encode_value(value)
    if len(body) > payload_max:
        raise InputRefused(
            f"{what}: Expected at most {payload_max:,} bytes, but there are {len(body):,}.",
            remedy="Keep large data in a file or an object store and pass where it lies.",
        )
    return body


def inline_or_handle(body: bytes) -> tuple[Raw, dict[bytes, bytes]]:
    """How an encoded value stands in the journal; one that is too large for that by its handle, with the blob that it names."""
    if len(body) <= INLINE_MAX:
        return Raw(body), {}
    handle, digest = handle_for(body)
    return handle, {digest: body}


def refuse_what_is_no_text(**texts: str) -> None:
    """Raises InputRefused for the first text that cannot be kept: a lone surrogate, as bytes of another encoding become."""
    for name, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputRefused(
                f"{name}: Expected a text in UTF-8, but {text!r} is none.", remedy="Write it in UTF-8."
            ) from error
