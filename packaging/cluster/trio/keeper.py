"""The process that starts the others and starts them again when they die, as systemd does on real hosts."""

import os
import signal
import subprocess
import sys
import time

from . import layout as layouts
from . import processes, roles
from .layout import Layout

# Seconds from a death to the next start, so that what cannot run does not run all the time.
PAUSE = 0.5

# Seconds between two looks for new relays, and for what was held.
PERIOD = 0.25


def hold(layout: Layout, name: str) -> None:
    """From now on the keeper leaves a process dead, should it die."""
    layout.file("hold", name).touch()


def release(layout: Layout, name: str) -> None:
    """Undoes `hold`: what is dead is started."""
    layout.file("hold", name).unlink(missing_ok=True)


def launch(layout: Layout) -> None:
    """Starts a keeper, apart from the caller's terminal."""
    with open(layout.file("log", "keeper.log"), "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "trio.keeper", layout.directory],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
            start_new_session=True,
        )
    processes.remember(layout, "keeper", child.pid)


class Keeper:
    """Knows its children, and takes up those that a keeper before it left."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.children: dict[str, subprocess.Popen] = {}
        self.tried: dict[str, float] = {}

    def look(self) -> None:
        """One look at everything."""
        self._read_again()
        for child in self.children.values():
            # Collects what has died.
            child.poll()
        for name in roles.names(self.layout):
            if processes.known(self.layout, name) is None and not self.layout.file("hold", name).exists():
                self._start(name)

    def _read_again(self) -> None:
        again = layouts.load(self.layout.directory)
        if again is None:
            sys.exit("the cluster is gone")
        self.layout = again

    def _start(self, name: str) -> None:
        now = time.monotonic()
        if now - self.tried.get(name, now - PAUSE) < PAUSE:
            return
        self.tried[name] = now
        print(time.strftime("%H:%M:%S"), "starting", name, flush=True)
        command, env = roles.command(self.layout, name), roles.environment(self.layout, name)
        try:
            self.children[name] = processes.start(self.layout, name, command, env, roles.user(self.layout, name))
        except OSError as error:
            print(time.strftime("%H:%M:%S"), name, "cannot be started:", error, flush=True)


def main() -> None:
    """`python3 -m trio.keeper DIR`"""
    layout = layouts.load(sys.argv[1])
    if layout is None:
        sys.exit(f"no cluster in {sys.argv[1]}")
    signals = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    keeper = Keeper(layout)
    while True:
        keeper.look()
        heard = signal.sigtimedwait(signals, PERIOD)
        if heard is not None and heard.si_signo == signal.SIGTERM:
            # The children go on: `down` ends them in an order.
            return


if __name__ == "__main__":
    main()
