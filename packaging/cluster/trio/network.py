"""Machines of their own, as far as the network goes: a namespace each, on one bridge. For tests; needs root."""

import random
import secrets
import subprocess

from .layout import SERVERS, Layout
from .words import Failure

# Where frames go that are to be lost without a word.
NOWHERE = "02:00:00:00:00:99"


def _ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Failure(f"ip {' '.join(words)}: {done.stderr.strip()}")


def choose(layout: Layout) -> None:
    """Names and addresses that no other cluster of this machine has."""
    layout.bridge = "kv" + secrets.token_hex(3)
    layout.subnet = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"


def machines(layout: Layout) -> list[str]:
    """All that have a namespace."""
    return [f"n{server}" for server in SERVERS] + [f"r{relay}" for relay in layout.relays]


def namespace(layout: Layout, machine: str) -> str:
    """The name of a machine's namespace."""
    return f"{layout.bridge}-{machine}"


def make(layout: Layout) -> None:
    """The bridge, and each machine that has no namespace yet. The caller's own namespace has the address that ends in 1."""
    _ip("link", "add", layout.bridge, "type", "bridge")
    _ip("addr", "add", f"{layout.subnet}.1/24", "dev", layout.bridge)
    _ip("link", "set", layout.bridge, "up")
    for machine in machines(layout):
        add(layout, machine)


def add(layout: Layout, machine: str) -> None:
    """One machine."""
    name = namespace(layout, machine)
    _ip("netns", "add", name)
    _ip("link", "add", port(layout, machine), "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("link", "set", port(layout, machine), "master", layout.bridge, "up")
    _ip("-n", name, "addr", "add", f"{layout.host(machine)}/24", "dev", "eth0")
    _ip("-n", name, "link", "set", "eth0", "up")
    _ip("-n", name, "link", "set", "lo", "up")


def port(layout: Layout, machine: str) -> str:
    """The bridge's end of a machine's cable."""
    return f"{layout.bridge}-{machine}v"


def remove(layout: Layout) -> None:
    """Takes all of it away. What is gone already is no error."""
    for machine in machines(layout):
        _ip("netns", "del", namespace(layout, machine), check=False)
    _ip("link", "del", layout.bridge, check=False)


def unplug(layout: Layout, machine: str) -> None:
    """Cuts a machine off from all."""
    _ip("link", "set", port(layout, machine), "down")


def plug(layout: Layout, machine: str) -> None:
    """Undoes `unplug`."""
    _ip("link", "set", port(layout, machine), "up")


def part(layout: Layout, one: str, other: str) -> None:
    """Two machines no longer reach each other; both still reach the rest."""
    for here, there in ((one, other), (other, one)):
        name = namespace(layout, here)
        _ip("-n", name, "neigh", "replace", layout.host(there), "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")


def join(layout: Layout, one: str, other: str) -> None:
    """Undoes `part`."""
    for here, there in ((one, other), (other, one)):
        _ip("-n", namespace(layout, here), "neigh", "del", layout.host(there), "dev", "eth0", check=False)
