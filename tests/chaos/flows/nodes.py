"""The one node type of these workflows that is not built in: blocking work, which tells the receiver of itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from perdure.nodes import Context, Failed, node


@node("chaos.grind")
def grind(receiver: str, tag: str, n: int, context: Context) -> int:
    """Sends a request with its effect key, and waits for the answer."""
    body = json.dumps({"tag": tag, "deed": "grind", "at": 0, "n": n}).encode()
    request = urllib.request.Request(receiver, data=body, headers={"Idempotency-Key": context.key})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["value"])
    except (urllib.error.URLError, OSError) as error:
        raise Failed("grind.failed", f"Expected an answer, but {error}") from error
