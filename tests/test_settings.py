"""Settings: read from variables and arguments, checked all at once, and explained."""

from __future__ import annotations

import pytest

from perdure.errors import Refused
from perdure.settings import Settings, settings_table

SECOND = 1_000_000


def test_without_anything_the_defaults_stand() -> None:
    """A first run needs no set-up: every setting has a default."""
    settings = Settings.read({})
    assert (settings.store, settings.slots, settings.payload_max) == ("perdure.db", 1_000, 64 << 20)
    assert (settings.grace, settings.inbox_poll) == (5 * SECOND, 50_000)


def test_arguments_go_before_variables() -> None:
    """What is said on the command line counts; what was not said there (None) leaves the variable's value."""
    environ = {"PERDURE_STORE": "a.db", "PERDURE_SLOTS": "7", "HOME": "/somewhere"}
    settings = Settings.read(environ, store="b.db", slots=None)
    assert (settings.store, settings.slots) == ("b.db", 7)


@pytest.mark.parametrize(
    "text, microseconds",
    [
        ("250us", 250),
        ("50ms", 50_000),
        ("5s", 5 * SECOND),
        ("1.5s", 1_500_000),
        ("2m", 120 * SECOND),
        ("1h", 3_600 * SECOND),
        ("3d", 259_200 * SECOND),
    ],
)
def test_durations_have_units(text: str, microseconds: int) -> None:
    """A duration is a number with a unit, and becomes whole microseconds without passing through a float."""
    assert Settings.read({"PERDURE_GRACE": text}).grace == microseconds


@pytest.mark.parametrize("text, size", [("512", 512), ("64KB", 65_536), ("2mb", 2 << 20), ("1 GB", 1 << 30)])
def test_sizes_may_have_units(text: str, size: int) -> None:
    """A size is bytes, or a number with a unit in powers of 1,024."""
    assert Settings.read({"PERDURE_COMMIT_BYTES_MAX": text}).commit_bytes_max == size


@pytest.mark.parametrize(
    "variable, text",
    [
        ("PERDURE_GRACE", "5"),
        ("PERDURE_GRACE", "-5s"),
        ("PERDURE_GRACE", "five seconds"),
        ("PERDURE_GRACE", "5 weeks"),
        ("PERDURE_GRACE", "99999999d"),
        ("PERDURE_INBOX_POLL", "0s"),
        ("PERDURE_PAYLOAD_MAX", "64 apples"),
        ("PERDURE_PAYLOAD_MAX", "-1"),
        ("PERDURE_SLOTS", "0"),
        ("PERDURE_SLOTS", "1e3"),
        ("PERDURE_SLOTS", "many"),
        ("PERDURE_COMMIT", "sometimes"),
        ("PERDURE_STORE", ""),
        ("PERDURE_NODES", "{notify"),
        ("PERDURE_NODES", "[]"),
        ("PERDURE_NODES", '{"notify": 5}'),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(variable: str, text: str) -> None:
    """A value that makes no sense is refused under the name of the variable that holds it, with what was expected."""
    with pytest.raises(Refused) as caught:
        Settings.read({variable: text})
    assert caught.value.code == "settings.refused"
    assert caught.value.message.startswith(f"{variable}: ")
    assert caught.value.remedy


def test_a_mistyped_setting_is_refused() -> None:
    """A variable that names no setting is refused with the nearest name, since it would otherwise do nothing, silently."""
    with pytest.raises(Refused, match="PERDURE_SLOT: Expected the name of a setting; did you mean PERDURE_SLOTS?"):
        Settings.read({"PERDURE_SLOT": "5"})
    with pytest.raises(Refused, match="zzz: Expected the name of a setting, but there is none so called."):
        Settings.read({}, zzz=5)


def test_all_wrong_settings_are_named_at_once() -> None:
    """Three wrong settings are three sentences in one refusal."""
    with pytest.raises(Refused) as caught:
        Settings.read({"PERDURE_SLOTS": "x", "PERDURE_GRACE": "y", "PERDURE_WHAT": "z"})
    assert len(caught.value.message.splitlines()) == 3


def test_options_of_node_types_are_json_and_stay_secret() -> None:
    """Options are read from JSON; neither the settings as text nor a refusal shows what is in them."""
    settings = Settings.read({"PERDURE_NODES": '{"notify": {"channels": {"ops": "json://secret@host"}}}'})
    assert settings.nodes["notify"]["channels"] == {"ops": "json://secret@host"}
    assert "secret" not in repr(settings)
    with pytest.raises(Refused) as caught:
        Settings.read({"PERDURE_NODES": '{"notify": "json://secret@host"}'})
    assert "secret" not in caught.value.message


def test_settings_never_change() -> None:
    """A running process has the settings it started with."""
    settings = Settings.read({})
    with pytest.raises(ValueError, match="frozen"):
        settings.slots = 5


def test_every_setting_gives_its_reason_and_can_be_written_as_shown() -> None:
    """The table has a row with a reason for each setting, and each default can be written back as the table shows it."""
    rows = [line.strip("| ").split(" | ") for line in settings_table().splitlines()[2:]]
    assert [row[0].strip("`") for row in rows] == list(Settings.model_fields)
    assert all(reason.endswith(".") for _, _, _, _, reason in rows)
    assert Settings.read({variable.strip("`"): default.strip("`") for _, variable, _, default, _ in rows}) == Settings.read({})
