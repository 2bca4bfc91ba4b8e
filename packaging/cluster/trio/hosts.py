"""Patroni's configuration on real hosts: the same template as on one machine, with TLS and fixed ports."""

import argparse
from pathlib import Path
from string import Template

from .programs import POSTGRES
from .roles import TEMPLATE
from .words import USAGE, Failure

POSTGRES_PORT = 5432
REST_PORT = 8008
ETCD_PORT = 2379
ROLES = ("superuser", "replication", "rewind", "kuvert")


def patroni_file(given: argparse.Namespace) -> str:
    """The file of the host that `given.name` names."""
    addresses = dict(pair.split("=", 1) for pair in given.hosts.split(",") if "=" in pair)
    if len(addresses) != 3 or given.name not in addresses:
        raise Failure("--hosts names three hosts, NAME=ADDRESS each, and --name one of them", USAGE)
    passwords = _passwords(Path(given.passwords))
    tls = Path(given.tls)
    trusted = [f"{address}/32" for address in addresses.values()]
    hba = [f"hostssl replication replicator {host} scram-sha-256" for host in trusted]
    hba += [f"hostssl all all {host} scram-sha-256" for host in trusted]
    hba += [f"hostssl kuvert kuvert {given.clients} scram-sha-256"]
    values = {
        "scope": "kuvert",
        "name": given.name,
        "host": addresses[given.name],
        "port": POSTGRES_PORT,
        "rest": REST_PORT,
        "etcd": ",".join(f"{address}:{ETCD_PORT}" for address in addresses.values()),
        "data": given.data,
        "programs": POSTGRES,
        "pgpass": "/run/kuvert-cluster/pgpass",
        "shared_buffers": given.shared_buffers,
        # Where there is a watchdog, a host that stands still restarts.
        "watchdog": "automatic",
        "hba": "\n".join(f"    - {line}" for line in hba),
        "tls": TLS.format(tls=tls),
        "verify": f", sslmode: verify-ca, sslrootcert: \"{tls}/ca.pem\"",
    }
    return Template(TEMPLATE.read_text()).substitute(values, **{f"{role}_password": word for role, word in passwords.items()})


TLS = """
    ssl: "on"
    ssl_cert_file: "{tls}/server.pem"
    ssl_key_file: "{tls}/server.key"
    ssl_min_protocol_version: TLSv1.3"""


def _passwords(path: Path) -> dict[str, str]:
    if path.stat().st_mode & 0o077:
        raise Failure(f"{path} can be read by other users: run `chmod 600` on it")
    found = dict(line.split("=", 1) for line in path.read_text().split())
    missing = [role for role in ROLES if not found.get(role)]
    if missing:
        raise Failure(f"{path} lacks {', '.join(missing)}: lines NAME=VALUE")
    if any(not word.isalnum() for word in found.values()):
        raise Failure(f"{path}: passwords are letters and digits only, so that they need no quoting")
    return {role: found[role] for role in ROLES}
