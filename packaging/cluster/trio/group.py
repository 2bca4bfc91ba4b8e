"""Asking the group: who is primary, and is it whole."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from . import processes
from .layout import SERVERS, Layout
from .words import Failure

# Seconds that a Patroni gets for an answer.
ANSWER = 2


def ask(url: str, body: dict | None = None, patience: float = ANSWER) -> tuple[int, dict | str]:
    """Status and answer of a Patroni; status 0 if there is none."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=patience) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    except OSError:
        return 0, {}
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")


def members(layout: Layout) -> list[dict]:
    """Name, role and state of each server, as the first Patroni that answers tells them."""
    for server in SERVERS:
        status, answer = ask(layout.rest(server) + "/cluster")
        if status == 200 and isinstance(answer, dict) and answer.get("members"):
            return answer["members"]
    return []


def primary(layout: Layout) -> int | None:
    """The number of the server that is primary, by its own word."""
    return next((server for server in SERVERS if ask(layout.rest(server) + "/primary")[0] == 200), None)


def is_whole(layout: Layout) -> bool:
    """Whether there is a primary and both others stream from it and count for the quorum."""
    server = primary(layout)
    if server is None:
        return False
    query = "select count(*) from pg_stat_replication where sync_state = 'quorum' and state = 'streaming'"
    return sql(layout, server, query) == "2"


def wait_until(what: str, layout: Layout, condition, patience: float) -> None:
    """Waits for a condition.

    Raises `Failure` if it does not come about, or the keeper is gone meanwhile."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {patience:.0f} s. The logs are in {layout.file('log')}")
        if processes.known(layout, "keeper") is None:
            raise Failure(f"{what}: the keeper has ended. The logs are in {layout.file('log')}")
        time.sleep(0.2)


def sql(layout: Layout, server: int, *statements: str, database: str = "postgres") -> str | None:
    """Runs statements as superuser on one server; what they print, or none if that failed."""
    command = [f"{layout.postgres_programs}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]
    for statement in statements:
        command += ["-c", statement]
    env = processes.environment(
        layout,
        PGHOST=layout.host(f"n{server}"),
        PGPORT=str(layout.postgres_port(server)),
        PGUSER="postgres",
        PGDATABASE=database,
        PGPASSWORD=layout.passwords["superuser"],
        PGCONNECT_TIMEOUT="2",
    )
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, cwd="/")
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == os.EX_OK else None


def servers(layout: Layout) -> list[dict]:
    """The three PostgreSQL, as `up` prints them."""
    roles = {member["name"]: member["role"] for member in members(layout)}
    named = {"leader": "primary", "sync_standby": "standby", "quorum_standby": "standby", "replica": "standby"}
    return [
        {
            "type": "postgres",
            "name": f"n{server}",
            "pid": processes.known(layout, f"postgres{server}"),
            "role": named.get(roles.get(f"n{server}", ""), "unknown"),
        }
        for server in SERVERS
    ]
