"""A network of its own for a process of a test, which can be cut: kernel namespaces, for root only."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.tools import root, tool


class Namespace:
    """A network of its own, joined to this one by a pair of interfaces that can be cut."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.near = name, f"{name}h"
        self.address = f"10.213.{number}.2"
        self._here = f"10.213.{number}.1/24"

    def make(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.near, "type", "veth", "peer", "name", "far", "netns", self.name)
        ip("addr", "add", self._here, "dev", self.near)
        ip("link", "set", self.near, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "far")
        for device in ("far", "lo"):
            ip("-n", self.name, "link", "set", device, "up")

    def cut(self) -> None:
        """Nothing goes in or out, and nobody is told."""
        ip("-n", self.name, "link", "set", "far", "down")

    def join(self) -> None:
        ip("-n", self.name, "link", "set", "far", "up")

    def disturb(self) -> bool:
        """Delay, loss, repetition and disorder; False where the kernel has no netem."""
        netem = "delay 20ms 15ms loss 5% duplicate 5% reorder 25%".split()
        command = [tool("tc"), "qdisc", "add", "dev", self.near, "root", "netem", *netem]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def remove(self) -> None:
        subprocess.run([tool("ip"), "netns", "del", self.name], check=False, capture_output=True)


def ip(*arguments: str) -> None:
    subprocess.run([tool("ip"), *arguments], check=True, capture_output=True)


@contextmanager
def made_namespace(prefix: str) -> Iterator[Namespace]:
    """One named by `prefix` and this process, and removed at the end."""
    made = Namespace(f"{prefix}{os.getpid() % 100_000}", os.getpid() % 250)
    root("makes a network")
    try:
        made.make()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"this kernel gives no network namespaces: {error.stderr!r}")
    try:
        yield made
    finally:
        made.remove()
