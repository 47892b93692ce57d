"""Triggers: ids of their own, and no workflow that waits for itself."""

from __future__ import annotations

from perdure.definition.checks.subject import Check, Subject
from perdure.definition.fields import one_or_list


def check_triggers(subject: Subject) -> None:
    """A `finished` trigger that names its own workflow would start it for ever; ids of triggers are unique."""
    triggers = subject.document.get("triggers")
    seen: set[str] = set()
    for index, trigger in enumerate(triggers if isinstance(triggers, list) else []):
        if not isinstance(trigger, dict):
            continue
        name = trigger.get("id")
        if isinstance(name, str) and name in seen:
            subject.find(
                "trigger.repeated", ("triggers", index, "id"), f"Expected an id of its own, but `{name}` stands twice."
            )
        if isinstance(name, str):
            seen.add(name)
        if trigger.get("type") == "finished" and subject.document.get("name") in one_or_list(trigger.get("workflow")):
            message = "Expected another workflow, but this one would start itself each time it finishes."
            subject.find("trigger.cycle", ("triggers", index, "workflow"), message)


CHECKS: tuple[Check, ...] = (check_triggers,)
