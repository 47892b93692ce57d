"""`make setup` needs nothing by hand: what it does on machines that lack something, tried with stand-ins for their programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDINARY = ("bash", "cat", "chmod", "cksum", "cp", "dirname", "head", "mkdir", "rm", "touch")

# A Python whose `-m venv` works once the package is "installed", and whose pip only says that it was asked.
PYTHON = """#!/bin/bash
echo "python $*" >>"$LOG"
case "$*" in
*sys.exit*) [ ! -f "$STATE/old-python" ] ;;
*'print("%d.%d"'*) echo 3.11 ;;
--version) echo Python 3.9.2 ;;
'-m venv '*) [ -f "$STATE/venv-package" ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
'-m pip install '*) [ ! -f "$STATE/no-network" ] ;;
*) true ;;
esac
"""
APT_GET = """#!/bin/bash
echo "apt-get $*" >>"$LOG"
case "$*" in
install*python3-venv) touch "$STATE/venv-package" ;;
esac
"""


class Machine:
    """A checkout and a set of programs; what they were asked is in `asked`."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.programs, self.state = folder / "checkout", folder / "bin", folder / "state"
        for made in (self.checkout / "tools", self.programs, self.state):
            made.mkdir(parents=True)
        self.log = folder / "log"
        self.log.touch()
        shutil.copy(ROOT / "tools" / "setup", self.checkout / "tools" / "setup")
        (self.checkout / "pyproject.toml").write_text("[project]\n")
        for name in ORDINARY:
            (self.programs / name).symlink_to(shutil.which(name) or name)
        self.program("python3", PYTHON)
        self.user(0)

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def user(self, number: int) -> None:
        self.program("id", f"#!/bin/bash\necho {number}\n")

    def has(self, name: str) -> None:
        (self.state / name).touch()

    def setup(self) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environ = {"PATH": str(self.programs), "LOG": str(self.log), "STATE": str(self.state)}
        command = [str(self.programs / "bash"), "tools/setup"]
        return subprocess.run(command, cwd=self.checkout, env=environ, capture_output=True, text=True, check=False, timeout=60)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_whole_machine_is_set_up_once(machine: Machine) -> None:
    """With Python and its venv module the environment is made; a second call asks no program anything."""
    machine.has("venv-package")
    assert machine.setup().returncode == 0
    assert any(line.startswith("python -m pip install") for line in machine.asked)
    again = machine.setup()
    assert (again.returncode, again.stdout, machine.asked) == (0, "", [])


def test_a_changed_pyproject_is_set_up_again(machine: Machine) -> None:
    """When what is depended on changes, the environment follows, without being made anew."""
    machine.has("venv-package")
    machine.setup()
    (machine.checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert machine.setup().returncode == 0
    assert any(line.startswith("python -m pip install") for line in machine.asked)
    assert not any(line.startswith("python -m venv") for line in machine.asked)


def test_a_moved_checkout_gets_its_own_environment(machine: Machine) -> None:
    """The scripts of an environment name the folder it was made in; in another folder it is made anew."""
    machine.has("venv-package")
    machine.setup()
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("elsewhere"))
    assert machine.setup().returncode == 0
    assert any(line.startswith("python -m venv") for line in machine.asked)


def test_debian_without_the_venv_package_as_root(machine: Machine) -> None:
    """As root the missing package is installed, and set-up goes on to its end."""
    machine.program("apt-get", APT_GET)
    result = machine.setup()
    assert result.returncode == 0, result.stderr
    assert "apt-get install -y -qq --no-install-recommends python3-venv" in machine.asked
    assert (machine.checkout / ".venv" / "set-up-for").exists()


def test_debian_without_the_venv_package_with_sudo(machine: Machine) -> None:
    """Where sudo asks for no password, it is used."""
    machine.user(1000)
    machine.program("apt-get", APT_GET)
    machine.program("sudo", '#!/bin/bash\necho "sudo $*" >>"$LOG"\nshift\n"$@"\n')
    machine.program("true", "#!/bin/bash\n")
    result = machine.setup()
    assert result.returncode == 0, result.stderr
    assert "sudo -n apt-get install -y -qq --no-install-recommends python3-venv" in machine.asked


def test_debian_without_the_venv_package_and_without_rights(machine: Machine) -> None:
    """Without rights it stops, says what is missing and how to install it, and leaves nothing that looks finished."""
    machine.user(1000)
    machine.program("apt-get", APT_GET)
    result = machine.setup()
    assert result.returncode == 1
    assert "the package python3-venv is missing" in result.stderr
    assert "sudo apt-get install python3-venv" in result.stderr
    assert not (machine.checkout / ".venv" / "set-up-for").exists()


def test_another_system_without_venv(machine: Machine) -> None:
    """Where there is no apt-get, it says that Python's venv module is missing."""
    result = machine.setup()
    assert result.returncode == 1
    assert "Install the venv module of Python 3.11" in result.stderr


def test_an_old_python(machine: Machine) -> None:
    """A Python below 3.11 is refused with its version and the way to name another."""
    machine.has("old-python")
    result = machine.setup()
    assert result.returncode == 1
    assert "Expected Python 3.11 or newer as 'python3', but found Python 3.9.2" in result.stderr
    assert "make setup PYTHON=" in result.stderr


def test_without_network_it_fails_and_can_be_repeated(machine: Machine) -> None:
    """When the packages cannot be fetched, set-up fails; once they can, the next call finishes."""
    machine.has("venv-package")
    machine.has("no-network")
    assert machine.setup().returncode != 0
    (machine.state / "no-network").unlink()
    assert machine.setup().returncode == 0


def test_uv_is_used_where_it_works(machine: Machine) -> None:
    """With uv, uv makes the environment; where uv fails, venv and pip do."""
    machine.has("venv-package")
    machine.program("uv", '#!/bin/bash\necho "uv $*" >>"$LOG"\nexit 1\n')
    assert machine.setup().returncode == 0
    assert any(line.startswith("uv venv") for line in machine.asked)
    assert any(line.startswith("python -m pip install") for line in machine.asked)
