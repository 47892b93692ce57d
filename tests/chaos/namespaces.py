"""Hosts with networks of their own on one machine, and wires between them: namespaces of Linux, which take root."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wires import Way

_NETWORK = 0x40000000  # CLONE_NEWNET
NETWORK = "10.213.0.0/16"
"""All addresses of these hosts, which nobody else can reach."""


def are_possible() -> bool:
    """Whether this user, on this machine, may make networks."""
    if os.geteuid() or shutil.which("ip") is None:
        return False
    name = f"perdure-{os.getpid()}-try"
    made = [_ip(*command, must=False) for command in (("netns", "add", name), ("-n", name, "link", "set", "lo", "up"))]
    _ip("netns", "del", name, must=False)
    return all(made)


class NamespacedWires:
    """A host for the server, and one for each worker, with a wire to it; used like `ProxiedWires`. `cut`: there is no way."""

    ways: Sequence[Way] = ("silent", "deaf", "cut")

    def __init__(self, count: int) -> None:
        self._stem = f"perdure-{os.getpid()}"
        self._count = count
        self.database = ""  # its name, once there is one

    def make(self) -> None:
        for host in self._hosts():
            _ip("netns", "add", host)
            _ip("-n", host, "link", "set", "lo", "up")
        for number in range(self._count):
            server, worker = self._host("server"), self._host(number)
            pair = ("add", f"w{number}", "type", "veth", "peer", "name", "to-server", "netns", worker)
            _ip("-n", server, "link", *pair)
            for host, link, last in ((server, f"w{number}", 1), (worker, "to-server", 2)):
                _ip("-n", host, "address", "add", f"10.213.{number}.{last}/30", "dev", link)
                _ip("-n", host, "link", "set", link, "up")

    def remove(self) -> None:
        for host in self._hosts():
            _ip("netns", "del", host, must=False)

    def url(self, number: int) -> str:
        return f"postgresql://postgres@10.213.{number}.1:5432/{self.database}"

    def enter_server(self) -> None:
        """Have this process, which has one thread, be on the server's host."""
        self._enter("server")

    def enter(self, number: int) -> None:
        """Have this process, which has one thread, be on a worker's host."""
        self._enter(number)

    @contextmanager
    def visiting(self, number: int) -> Iterator[None]:
        """Have this process be on a worker's host for a moment."""
        with open("/proc/self/ns/net") as home:
            self._enter(number)
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def change(self, number: int, way: Way) -> None:
        server, worker = self._host("server"), self._host(number)
        unanswered = ("route", "replace" if way == "deaf" else "del", "blackhole", f"10.213.{number}.2/32")
        unreachable = ("route", "replace" if way == "cut" else "del", "unreachable", f"10.213.{number}.1/32")
        _ip("-n", server, "link", "set", f"w{number}", "down" if way == "silent" else "up")
        _ip("-n", server, *unanswered, must=way == "deaf")
        _ip("-n", worker, *unreachable, must=way == "cut")

    def _host(self, which: int | str) -> str:
        return f"{self._stem}-{which}"

    def _hosts(self) -> list[str]:
        return [self._host(which) for which in ("server", *range(self._count))]

    def _enter(self, which: int | str) -> None:
        with open(f"/run/netns/{self._host(which)}") as namespace:
            _set_namespace(namespace.fileno())


@contextmanager
def namespaced(count: int) -> Iterator[NamespacedWires]:
    """Hosts for a server and so many workers; they are gone when the context is left."""
    wires = NamespacedWires(count)
    try:
        wires.make()
        yield wires
    finally:
        wires.remove()


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _NETWORK):
        raise OSError(ctypes.get_errno(), "Expected to enter a network namespace, but it was refused.")


def _ip(*arguments: str, must: bool = True) -> bool:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert not must or done.returncode == 0, f"Expected `ip {' '.join(arguments)}` to succeed, but: {done.stderr}"
    return done.returncode == 0
