"""A server that cannot catch up is made anew from the primary.

A standby that was away for longer than the primary's write-ahead log reaches waits forever for segments that are gone. What it holds is
then of no use: this throws it away and lets Patroni copy the primary. It does so only while there is a primary and another standby
streams from it, so that every commit is on two other disks, and never to a server that may yet be needed."""

import time

from . import group

# Seconds that a standby may be neither streaming nor being made before it is made anew.
PATIENCE = 45.0

# Seconds between two looks.
PERIOD = 3.0

# What Patroni calls a standby that is as it should be, or on its way there with work that ends by itself.
FINE = {"streaming", "creating replica", "initializing new cluster", "custom bootstrap failed"}


class Rejoin:
    """Looks at one server by its own Patroni."""

    def __init__(self, rest: str, name: str, say, patience: float = PATIENCE):
        self.rest, self.name, self.say, self.patience = rest, name, say, patience
        self.since: float | None = None

    def look(self, now: float) -> None:
        """One look, at a time of a clock that never goes back."""
        if not self._is_stuck():
            self.since = None
            return
        if self.since is None:
            self.since = now
        if now - self.since < self.patience:
            return
        # The next try, should this one fail, comes after the same patience.
        self.since = now
        status, answer = group.ask(self.rest + "/reinitialize", {"force": True}, patience=10)
        self.say(f"{self.name} could not catch up for {self.patience:.0f} s: it is made anew ({status} {answer})")

    def _is_stuck(self) -> bool:
        status, answer = group.ask(self.rest + "/cluster")
        if status != 200 or not isinstance(answer, dict):
            return False
        members = {member.get("name"): member for member in answer.get("members", [])}
        mine = members.pop(self.name, None)
        if mine is None or mine.get("role") in ("leader", "standby_leader") or mine.get("state") in FINE:
            return False
        led = any(other.get("role") == "leader" and other.get("state") == "running" for other in members.values())
        safe = any(other.get("role") != "leader" and other.get("state") == "streaming" for other in members.values())
        return led and safe


def run(rest: str, name: str, say) -> None:
    """Looks forever."""
    rejoin = Rejoin(rest, name, say)
    while True:
        rejoin.look(time.monotonic())
        time.sleep(PERIOD)
