"""What a cluster consists of, and where: kept in `DIR/cluster.json`, which only the owner can read, as it holds passwords."""

import json
import os
import random
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .words import Failure

# The three servers' numbers.
SERVERS = (1, 2, 3)

# Each cluster takes one run of ports. Below the kernel's own choice for outgoing connections (32768 and up), so that a port is still
# free when a server comes back.
FIRST_PORT = 12_000
LAST_PORT = 31_000
MAX_RELAYS = 16
PORTS_PER_RELAY = 3
PORTS = 12 + PORTS_PER_RELAY * MAX_RELAYS

FILE = "cluster.json"
VERSION = 1


@dataclass
class Layout:
    """One cluster. Paths are absolute; ports are numbers; `user` is empty where all runs as the caller."""

    directory: str
    base_port: int
    relays: list[int]
    user: str
    postgres_programs: str
    patroni: str
    etcd: str
    relay_program: str
    # What is added to each relay's configuration.
    relay_settings: str = ""
    # The directory of files on their way, which all relays share; empty: they take none.
    files: str = ""
    # "loopback", or "namespaces": each machine has an address of its own.
    network: str = "loopback"
    bridge: str = ""
    subnet: str = ""
    # MiB of the disk of each PostgreSQL server; 0: the directory's own disk.
    disk_mib: int = 0
    # The path of libfaketime where clocks can be moved, else empty.
    clocks: str = ""
    passwords: dict[str, str] = field(default_factory=dict)
    version: int = VERSION

    @property
    def path(self) -> Path:
        return Path(self.directory)

    def file(self, *names: str) -> Path:
        """A path below the cluster's directory."""
        return self.path.joinpath(*names)

    def data(self, server: int) -> Path:
        """The data directory of a PostgreSQL: one level below what may be a disk of its own, so that it can be removed."""
        return self.file(f"pg{server}", "data")

    def host(self, machine: str) -> str:
        """The address of a machine: `n1` to `n3` have a PostgreSQL, a Patroni and an etcd each, `r1` and so on a relay."""
        if self.network == "loopback":
            return "127.0.0.1"
        number = int(machine[1:])
        return f"{self.subnet}.{number + (10 if machine[0] == 'n' else 20)}"

    def postgres_port(self, server: int) -> int:
        return self.base_port + server - 1

    def rest_port(self, server: int) -> int:
        return self.base_port + 3 + server - 1

    def etcd_port(self, server: int) -> int:
        return self.base_port + 6 + server - 1

    def etcd_peer_port(self, server: int) -> int:
        return self.base_port + 9 + server - 1

    def relay_port(self, relay: int, which: int = 0) -> int:
        """0: clients (UDP), 1: the other nodes (UDP), 2: monitoring (TCP)."""
        return self.base_port + 12 + (relay - 1) * PORTS_PER_RELAY + which

    def rest(self, server: int) -> str:
        """Where a server's Patroni answers."""
        return f"http://{self.host(f'n{server}')}:{self.rest_port(server)}"

    def etcd_clients(self) -> str:
        return ",".join(f"{self.host(f'n{server}')}:{self.etcd_port(server)}" for server in SERVERS)

    def url(self, password: bool = True) -> str:
        """The store: all three servers, and that the one which writes is meant."""
        hosts = ",".join(f"{self.host(f'n{server}')}:{self.postgres_port(server)}" for server in SERVERS)
        user = "kuvert:" + self.passwords["kuvert"] if password else "kuvert"
        # Between namespaces there is a network, in which nothing else is.
        plain = "&sslmode=disable" if self.network == "namespaces" else ""
        return f"postgres://{user}@{hosts}/kuvert?target_session_attrs=read-write&connect_timeout=2{plain}"

    def save(self) -> None:
        """Writes `cluster.json`, whole or not at all."""
        new = self.file(FILE + ".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=1)
        new.rename(self.file(FILE))


def load(directory: str) -> Layout | None:
    """The cluster of a directory, if one is or was up there."""
    path = Path(directory).resolve() / FILE
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Failure(f"{path} belongs to another user: run this as that user") from None
    except ValueError:
        raise Failure(f"{path} is damaged: end the processes below {directory} by hand, then remove it") from None
    if values.get("version") != VERSION:
        raise Failure(f"{path} was made by another version of these scripts: take it down with that one")
    return Layout(**values)


def new_passwords() -> dict[str, str]:
    """One for each role. Letters that need no quoting in a URL or in SQL."""
    return {role: secrets.token_hex(16) for role in ("kuvert", "superuser", "replication", "rewind")}


def free_ports() -> int:
    """The first port of a run that no program uses now."""
    for _ in range(200):
        base = random.randrange(FIRST_PORT, LAST_PORT - PORTS)
        if all(_free(base + port) for port in range(PORTS)):
            return base
    raise Failure(f"no {PORTS} free ports in a row between {FIRST_PORT} and {LAST_PORT}")


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
