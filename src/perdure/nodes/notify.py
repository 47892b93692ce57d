"""The node `notify`: a message to people, over any of the services that Apprise speaks to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from perdure.definition.spec import Example
from perdure.nodes.decorator import node, work_of
from perdure.nodes.work import Context, Failed

if TYPE_CHECKING:
    import apprise

TARGETS_MAX = 50  # one thread each while sending; a mailing belongs in a service made for it
CHANNEL_DEPTH_MAX = 5  # a channel may name channels
DEFAULT_CHANNEL = "default"
CHANNELS = "channels"  # the operator's option that holds them: name → address, or a list of addresses and names

EXAMPLES = (
    Example(
        title="Tell a service that takes JSON",
        definition={
            "perdure": 1,
            "name": "tell-service",
            "input": {"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}}},
            "nodes": {
                "tell": {
                    "type": "notify",
                    "with": {"to": ["${ input.to }"], "title": "Order 17", "body": "It left the house.", "type": "success"},
                    "timeout": "30s",
                }
            },
            "output": "${ nodes.tell.sent }",
        },
        input={"to": "json://127.0.0.1:8000/messages"},
        output=1,
    ),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """`sent`: how many services took the message."""

    sent: int


Targets = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=TARGETS_MAX)]


@node("notify", title="Notify people", group="people", examples=EXAMPLES)
def notify(
    context: Context,
    *,
    title: Annotated[str, Field(max_length=1_000)] = "",
    body: Annotated[str, Field(max_length=1 << 20)] = "",
    to: Targets | str = DEFAULT_CHANNEL,
    type: Literal["info", "success", "warning", "failure"] = "info",
    format: Literal["text", "markdown", "html"] = "text",
) -> Sent:
    """Send a message to people: mail, chat, push, SMS and many more.

    `to` holds addresses as Apprise writes them (`mailto://…`, `slack://…`, `json://host/path`) or names of channels that the
    operator configured, so that addresses with passwords in them stay out of workflows.

    All services are tried. If one fails the node fails with `notify.failed`; its `data.sent` says how many had it already.

    Args:
        title: The subject, in a line.
        body: The message.
        to: Addresses or names of channels; without it the channel `default`.
        type: What kind of news it is; many services show a colour or sign.
        format: What the body is written in.
    """
    if not title and not body:
        raise Failed("params.invalid", "Expected a title or a body, but got neither", category="validation", retryable=False)
    import apprise  # a hundred services: loaded by the process that sends, not by everyone who reads a workflow

    addresses = _addresses([to] if isinstance(to, str) else to, context.options.get(CHANNELS) or {})
    asset = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY, secure_logging=True, plugin_paths=[], service_timeout=0
    )
    services = apprise.Apprise(asset=asset)
    for address in addresses:
        service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        if service is None:
            raise Failed(
                "notify.address",
                f"Expected an address that a service can be reached by, but {_scheme(address)}://… is none",
                category="validation",
                retryable=False,
            )
        services.add(service)
    outcome = services.notify(
        body=body or title, title=title if body else "", notify_type=apprise.NotifyType(type),
        body_format=apprise.NotifyFormat(format), interpret_escapes=False,
    )  # fmt: skip
    if not outcome:
        reasons = [_reason(result) for result in outcome.results if result.status != apprise.AppriseResultStatus.SUCCESS]
        raise Failed(
            "notify.failed",
            f"Expected {len(addresses)} services to take the message, but {len(addresses) - outcome.success_count} did not",
            ambiguous=True,
            detail="\n".join(reasons),
            data={"sent": outcome.success_count, "failed": len(addresses) - outcome.success_count},
        )
    return Sent(sent=outcome.success_count)


WORK = work_of(notify)
SPEC = WORK.spec


def _addresses(targets: list[str], channels: Mapping[str, Any], depth: int = 0) -> list[str]:
    """The addresses behind the targets, each once. What holds `://` is an address, all else the name of a channel."""
    found: dict[str, None] = {}
    for target in targets:
        if "://" in target:
            found[target] = None
            continue
        if target not in channels or depth == CHANNEL_DEPTH_MAX:
            raise Failed(
                "notify.channel",
                f"Expected a channel named {target!r} in the settings, but "
                + ("channels name each other too deeply" if depth == CHANNEL_DEPTH_MAX else f"there is {_known(channels)}"),
                detail="Have the operator add the channel, or write an address such as mailto://… .",
                category="validation",
                retryable=False,
            )
        inside = channels[target]
        found.update(dict.fromkeys(_addresses([inside] if isinstance(inside, str) else list(inside), channels, depth + 1)))
    return list(found)


def _known(channels: Mapping[str, Any]) -> str:
    return f"only {', '.join(sorted(channels))}" if channels else "none"


def _scheme(address: str) -> str:
    return address.partition("://")[0][:30]


def _reason(result: apprise.NotifyResult) -> str:
    """One service's trouble, without what is secret in its address."""
    lines = [str(entry.message) for entry in result.logs()]
    return f"{result.name}: {'; '.join(lines[-3:]) or result.status.name.lower()}"[:500]
