"""Relays in front of the group."""

import time

from . import keeper, processes
from .layout import Layout
from .words import Failure


def refuse() -> None:
    """Says so at once where relays cannot be started."""
    raise Failure("this version's kuvert-relay cannot be put in front of a group yet: --relays 0")


def prepare(layout: Layout, relay: int) -> None:
    """A relay's directory and its configuration."""
    refuse()


def bring_up(layout: Layout, patience: float) -> list[dict]:
    """Starts all relays; a line for each that serves."""
    for relay in layout.relays:
        keeper.release(layout, f"relay{relay}")
    deadline = time.monotonic() + patience
    return [_line(layout, relay, deadline) for relay in layout.relays]


def _line(layout: Layout, relay: int, deadline: float) -> dict:
    ready = layout.file(f"relay{relay}", "address")
    while time.monotonic() < deadline:
        pid = processes.known(layout, f"relay{relay}")
        try:
            address = ready.read_text().strip()
        except OSError:
            address = ""
        if pid is not None and address:
            return {"type": "relay", "address": address, "pid": pid}
        time.sleep(0.1)
    raise Failure(f"relay {relay} does not serve. Its log: {layout.file('log', f'relay{relay}.log')}")
