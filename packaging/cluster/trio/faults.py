"""What can go wrong, done on purpose: to see what a cluster does then, and for tests. Each fault says what it did, lasts for a while, and is
undone."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import group, keeper, network, processes, roles
from .layout import SERVERS, Layout
from .words import Failure

# Bytes that fill any disk of a test.
BALLAST = 64 << 30

# Seconds that a cluster gets to be whole again after a fault.
WHOLE = 240


@dataclass(frozen=True)
class Fault:
    """A kind of fault."""

    # "process": one process dies. "machine": all of a machine dies, stops or is cut off. "other": the rest.
    sort: str
    # Seconds that it lasts.
    lasts: float
    # What the cluster must have been brought up with: "namespaces", "disk", "clocks", or nothing.
    needs: str
    # What it is, for people.
    words: str
    # Does it, says to whom, and undoes it when left.
    act: Callable[[Layout], Iterator[str]]


KINDS: dict[str, Fault] = {}


def kind(sort: str, lasts: float, words: str, needs: str = ""):
    """Makes a function a kind of fault, under its name."""

    def register(act):
        KINDS[act.__name__] = Fault(sort, lasts, needs, words, contextmanager(act))
        return act

    return register


def _primary(layout: Layout) -> int:
    server = group.primary(layout)
    if server is None:
        raise Failure("there is no primary now: wait until the cluster is whole")
    return server


def _standby(layout: Layout) -> int:
    first = _primary(layout)
    return random.choice([server for server in SERVERS if server != first])


def _relay(layout: Layout) -> int:
    return random.choice(layout.relays)


def _of(layout: Layout, *names: str) -> list[int]:
    """The processes of these names, with all that descend from them."""
    found = []
    for name in names:
        pid = processes.known(layout, name)
        found += processes.children(pid) if pid is not None else []
    return found


def _machine(server: int) -> list[str]:
    return [f"{role}{server}" for role in ("rejoin", "patroni", "postgres", "etcd")]


def _kill(layout: Layout, *names: str) -> None:
    processes.send(_of(layout, *names), signal.SIGKILL)


@contextmanager
def _dead(layout: Layout, *names: str):
    """Dead for a while: not started again before this ends."""
    held = [name for name in names if not name.startswith("postgres")]
    for name in held:
        keeper.hold(layout, name)
    _kill(layout, *names)
    try:
        yield
    finally:
        for name in held:
            keeper.release(layout, name)


@contextmanager
def _stopped(layout: Layout, *names: str):
    """Stopped for a while, as if the machine stood still."""
    pids = _of(layout, *names)
    processes.send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        processes.send(pids, signal.SIGCONT)


@kind("process", 0, "the primary's PostgreSQL is killed")
def kill_primary(layout: Layout):
    server = _primary(layout)
    pid = processes.known(layout, f"postgres{server}")
    # The postmaster alone, as the kernel does it when memory runs out: its children notice.
    processes.send([pid], signal.SIGKILL)
    yield f"n{server}"


@kind("process", 0, "a standby's PostgreSQL is killed")
def kill_standby(layout: Layout):
    server = _standby(layout)
    processes.send([processes.known(layout, f"postgres{server}")], signal.SIGKILL)
    yield f"n{server}"


@kind("process", 0, "the primary's Patroni is killed")
def kill_patroni(layout: Layout):
    server = _primary(layout)
    processes.send([processes.known(layout, f"patroni{server}")], signal.SIGKILL)
    yield f"n{server}"


@kind("process", 0, "one etcd is killed")
def kill_etcd(layout: Layout):
    server = random.choice(SERVERS)
    _kill(layout, f"etcd{server}")
    yield f"n{server}"


@kind("process", 0, "a relay is killed")
def kill_relay(layout: Layout):
    relay = _relay(layout)
    _kill(layout, f"relay{relay}")
    yield f"r{relay}"


@kind("machine", 20, "a relay's machine dies")
def relay_machine(layout: Layout):
    relay = _relay(layout)
    with _dead(layout, f"relay{relay}"):
        yield f"r{relay}"


@kind("machine", 30, "the primary's machine dies: PostgreSQL, Patroni and etcd")
def primary_machine(layout: Layout):
    server = _primary(layout)
    with _dead(layout, *_machine(server)):
        yield f"n{server}"


@kind("machine", 15, "a standby's machine dies")
def standby_machine(layout: Layout):
    server = _standby(layout)
    with _dead(layout, *_machine(server)):
        yield f"n{server}"


@kind("machine", 30, "the primary's PostgreSQL stands still")
def stop_postgres(layout: Layout):
    server = _primary(layout)
    with _stopped(layout, f"postgres{server}"):
        yield f"n{server}"


@kind("machine", 30, "the primary's machine stands still")
def stop_primary(layout: Layout):
    server = _primary(layout)
    with _stopped(layout, *_machine(server)):
        yield f"n{server}"


@kind("machine", 20, "a relay stands still")
def stop_relay(layout: Layout):
    relay = _relay(layout)
    with _stopped(layout, f"relay{relay}"):
        yield f"r{relay}"


@kind("other", 15, "both standbys die: nothing may be accepted meanwhile")
def both_standbys(layout: Layout):
    first = _primary(layout)
    names = [name for server in SERVERS if server != first for name in (f"patroni{server}", f"postgres{server}")]
    with _dead(layout, *names):
        yield f"n{first} is left"


@kind("other", 20, "all etcd die")
def all_etcd(layout: Layout):
    with _dead(layout, *(f"etcd{server}" for server in SERVERS)):
        yield "all"


@kind("other", 0, "another server is made the primary")
def switchover(layout: Layout):
    server, other = _primary(layout), _standby(layout)
    status, answer = group.ask(layout.rest(server) + "/switchover", {"leader": f"n{server}", "candidate": f"n{other}"}, 30)
    if status != 200:
        raise Failure(f"Patroni did not do it: {answer}")
    yield f"n{server} to n{other}"


@kind("machine", 30, "the primary is cut off from the other servers, not from relays", "namespaces")
def cut_peers(layout: Layout):
    server = _primary(layout)
    others = [f"n{other}" for other in SERVERS if other != server]
    for other in others:
        network.part(layout, f"n{server}", other)
    try:
        yield f"n{server}"
    finally:
        for other in others:
            network.join(layout, f"n{server}", other)


@kind("machine", 30, "the primary is cut off from all", "namespaces")
def cut_primary(layout: Layout):
    server = _primary(layout)
    yield from _cut(layout, f"n{server}")


@kind("machine", 20, "a relay is cut off from all", "namespaces")
def cut_relay(layout: Layout):
    yield from _cut(layout, f"r{_relay(layout)}")


@kind("machine", 20, "a standby is cut off from all", "namespaces")
def cut_standby(layout: Layout):
    yield from _cut(layout, f"n{_standby(layout)}")


@kind("other", 10, "relays do not reach each other, but the store", "namespaces")
def part_relays(layout: Layout):
    pairs = [(one, other) for one in layout.relays for other in layout.relays if one < other]
    for one, other in pairs:
        network.part(layout, f"r{one}", f"r{other}")
    try:
        yield "all"
    finally:
        for one, other in pairs:
            network.join(layout, f"r{one}", f"r{other}")


def _cut(layout: Layout, machine: str):
    network.unplug(layout, machine)
    try:
        yield machine
    finally:
        network.plug(layout, machine)


@kind("other", 25, "the primary's disk is full", "disk")
def primary_disk(layout: Layout):
    yield from _full(layout, _primary(layout))


@kind("other", 15, "a standby's disk is full", "disk")
def standby_disk(layout: Layout):
    yield from _full(layout, _standby(layout))


def _full(layout: Layout, server: int):
    ballast = layout.file(f"pg{server}", "ballast")
    with open(ballast, "wb") as file:
        try:
            while file.tell() < BALLAST:
                file.write(b"\0" * (1 << 20))
                file.flush()
        except OSError:
            pass
    try:
        yield f"n{server}"
    finally:
        ballast.unlink()


@kind("other", 15, "a relay's clock jumps by an hour, ahead or back", "clocks")
def relay_clock(layout: Layout):
    machine = f"r{_relay(layout)}"
    file, by = roles.clock(layout, machine), random.choice(["+3600", "-3600"])
    file.write_text(by)
    try:
        yield f"{machine} by {by} s"
    finally:
        file.write_text("+0")


def possible(layout: Layout) -> list[str]:
    """The kinds of fault that this cluster was brought up for."""
    has = {"": True, "namespaces": layout.network == "namespaces", "disk": layout.disk_mib > 0, "clocks": bool(layout.clocks)}
    of_relays = {"kill_relay", "relay_machine", "stop_relay", "cut_relay", "relay_clock", "part_relays"}
    return [name for name, fault in KINDS.items() if has[fault.needs] and (layout.relays or name not in of_relays)]


def settle(layout: Layout) -> None:
    """Waits until all of a cluster works.

    Raises `Failure` if that takes too long."""

    def works() -> bool:
        names = [name for name in roles.names(layout)] + [f"postgres{server}" for server in SERVERS]
        return all(processes.known(layout, name) is not None for name in names) and group.is_whole(layout)

    group.wait_until("whole again", layout, works, WHOLE)


def sleep(seconds: float) -> None:
    """Lets a fault last."""
    time.sleep(seconds)
