"""What each process of a cluster is started with."""

import sys
from pathlib import Path
from string import Template

from . import network, processes
from .layout import SERVERS, Layout
from .programs import HERE

TEMPLATE = HERE / "patroni.yml"
SHARED_BUFFERS = "128MB"

# Seconds that libfaketime keeps what it read of a clock's file.
CLOCK_CACHE = "1"


def names(layout: Layout) -> list[str]:
    """All that the keeper starts, in this order. PostgreSQL is Patroni's child."""
    of_servers = [f"{role}{server}" for role in ("etcd", "patroni", "rejoin") for server in SERVERS]
    return of_servers + [f"relay{relay}" for relay in layout.relays]


def machine(name: str) -> str:
    """Where a process runs."""
    number = name[-1] if not name[-2].isdigit() else name[-2:]
    return ("r" if name.startswith("relay") else "n") + number


def command(layout: Layout, name: str) -> list[str]:
    """The command line of a process."""
    number = int(machine(name)[1:])
    role = name.removesuffix(str(number))
    words = _with_clock(layout, name) + {"etcd": _etcd, "patroni": _patroni, "rejoin": _rejoin, "relay": _relay}[role](layout, number)
    if layout.network == "namespaces":
        # Entering a namespace is root's; only then the process becomes another user's.
        inside = ["ip", "netns", "exec", network.namespace(layout, machine(name))]
        return inside + processes.as_user(_owner(layout, name)) + words
    return words


def user(layout: Layout, name: str) -> str:
    """Whose process it is from its first instruction on; empty: the keeper's own user."""
    return "" if layout.network == "namespaces" else _owner(layout, name)


def _owner(layout: Layout, name: str) -> str:
    # The user that PostgreSQL runs as may not be able to read this folder, or to run this Python.
    return "" if name.startswith("rejoin") else layout.user


def environment(layout: Layout, name: str) -> dict[str, str]:
    """The environment of a process."""
    return processes.environment(layout)


def _with_clock(layout: Layout, name: str) -> list[str]:
    """What starts a program with a clock that can be moved. As its own user only: libfaketime's semaphores are whose process made them."""
    # Relays alone: etcd asks the kernel itself, not the C library, and Python's `sleep`, hence Patroni, fails under this library.
    if not layout.clocks or not name.startswith("relay"):
        return []
    settings = {
        "LD_PRELOAD": layout.clocks,
        "FAKETIME_TIMESTAMP_FILE": str(clock(layout, machine(name))),
        "FAKETIME_CACHE_DURATION": CLOCK_CACHE,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return ["/usr/bin/env"] + [f"{setting}={value}" for setting, value in settings.items()]


def clock(layout: Layout, of: str) -> Path:
    """The file that says how far a machine's clock is off: `+0`, `+3600`, `-90`."""
    return layout.file("clock", of)


def _etcd(layout: Layout, server: int) -> list[str]:
    def url(port: int, of: int = server) -> str:
        return f"http://{layout.host(f'n{of}')}:{port}"

    clients, peers = url(layout.etcd_port(server)), url(layout.etcd_peer_port(server))
    everyone = ",".join(f"n{of}={url(layout.etcd_peer_port(of), of)}" for of in SERVERS)
    options = {
        "name": f"n{server}",
        "data-dir": str(layout.file(f"etcd{server}")),
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": everyone,
        "initial-cluster-state": "new",
        "initial-cluster-token": "kuvert",
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "logger": "zap",
        "log-level": "warn",
    }
    return [layout.etcd] + [word for name, value in options.items() for word in (f"--{name}", value)]


def _patroni(layout: Layout, server: int) -> list[str]:
    return [layout.patroni, str(layout.file(f"patroni{server}.yml"))]


def patroni_file(layout: Layout, server: int) -> str:
    """The configuration of a server."""
    here = layout.host(f"n{server}")
    # The machine itself, and the others of its network.
    network_of = "127.0.0.1/32" if layout.network == "loopback" else f"{layout.subnet}.0/24"
    values = {
        "scope": "kuvert",
        "name": f"n{server}",
        "host": here,
        "port": layout.postgres_port(server),
        "rest": layout.rest_port(server),
        "etcd": layout.etcd_clients(),
        "data": str(layout.data(server)),
        "programs": layout.postgres_programs,
        "pgpass": str(layout.file("run", f"pgpass{server}")),
        "shared_buffers": SHARED_BUFFERS,
        # One machine has one watchdog at most.
        "watchdog": "off",
        # All on one machine: nothing to encrypt.
        "tls": "",
        "verify": "",
        "hba": f"    - host replication replicator {network_of} scram-sha-256\n    - host all all {network_of} scram-sha-256",
    }
    passwords = {f"{role}_password": word for role, word in layout.passwords.items()}
    return Template(TEMPLATE.read_text()).substitute(values, **passwords)


def _rejoin(layout: Layout, server: int) -> list[str]:
    return [sys.executable, str(HERE / "rejoin"), "--url", layout.rest(server), "--name", f"n{server}"]


def _relay(layout: Layout, relay: int) -> list[str]:
    return [layout.relay_program, "serve", "--config", str(layout.file(f"relay{relay}", "relay.toml"))]
