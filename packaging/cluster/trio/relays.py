"""Relays in front of the group. All show the key that the first one made for itself."""

import shutil
import subprocess
import time
from pathlib import Path

from . import keeper, network, processes, roles
from .layout import Layout
from .words import Failure

CONFIGURATION = """\
listen = "{host}:{port}"
data = "{folder}/data"
ready_file = "{folder}/address"
store = "{store}"

[cluster]
name = "r{relay}"
listen = "{host}:{nodes_port}"
key = "{key}"

[monitoring]
listen = "{host}:{monitoring_port}"
any_address = {any_address}

[blobs]
store = "{files}"
"""


def prepare_all(layout: Layout) -> None:
    """The store's tables, the cluster's key, and each relay's directory."""
    _run(layout, "migrate", store=layout.url())
    processes.write(layout, layout.file("cluster.key"), _run(layout, "cluster", "key"))
    processes.write(layout, layout.file("passwords"), f"*:*:kuvert:kuvert:{layout.passwords['kuvert']}\n")
    for relay in layout.relays:
        prepare(layout, relay)


def prepare(layout: Layout, relay: int) -> None:
    """A relay's directory and its configuration."""
    folder = _folder(layout, relay)
    for path in (folder, folder / "data"):
        path.mkdir(mode=0o700)
        processes.own(layout, path)
    text = CONFIGURATION.format(
        relay=relay,
        folder=folder,
        host=layout.host(f"r{relay}"),
        port=layout.relay_port(relay),
        nodes_port=layout.relay_port(relay, 1),
        monitoring_port=layout.relay_port(relay, 2),
        any_address="false" if layout.network == "loopback" else "true",
        store=layout.url(password=False) + f"&passfile={layout.file('passwords')}",
        key=layout.file("cluster.key"),
        files=layout.files,
    )
    processes.write(layout, folder / "relay.toml", text + layout.relay_settings)
    processes.write(layout, roles.clock(layout, f"r{relay}"), "+0")


def bring_up(layout: Layout, relays: list[int], patience: float) -> list[dict]:
    """Starts relays; a line for each, once it serves. The very first one makes the key that all of them show."""
    deadline = time.monotonic() + patience
    lines = []
    for relay in relays:
        if layout.relays[0] != relay:
            _copy_key(layout, layout.relays[0], relay)
        keeper.release(layout, f"relay{relay}")
        if not lines:
            lines.append(_line(layout, relay, deadline))
    return lines + [_line(layout, relay, deadline) for relay in relays[1:]]


def add(layout: Layout, patience: float) -> dict:
    """One more relay, beside those that serve."""
    relay = max(layout.relays) + 1
    layout.relays.append(relay)
    if layout.network == "namespaces":
        network.add(layout, f"r{relay}")
    prepare(layout, relay)
    keeper.hold(layout, f"relay{relay}")
    layout.save()
    return bring_up(layout, [relay], patience)[0]


def retire(layout: Layout, relay: int, patience: float) -> None:
    """Ends a relay for good, once the others have taken what it held."""
    keeper.hold(layout, f"relay{relay}")
    processes.end(layout, [f"relay{relay}"], processes.signal.SIGTERM, patience)
    layout.relays.remove(relay)
    layout.save()


def line(layout: Layout, relay: int) -> dict | None:
    """A relay, as `up` prints it; none while it does not serve."""
    pid = processes.known(layout, f"relay{relay}")
    try:
        address = (_folder(layout, relay) / "address").read_text().strip()
    except OSError:
        return None
    return {"type": "relay", "address": address, "pid": pid} if pid is not None and address else None


def _folder(layout: Layout, relay: int) -> Path:
    return layout.file(f"relay{relay}")


def _copy_key(layout: Layout, first: int, relay: int) -> None:
    target = _folder(layout, relay) / "data" / "tls"
    shutil.copytree(_folder(layout, first) / "data" / "tls", target)
    for path in (target, *target.iterdir()):
        processes.own(layout, path)


def _line(layout: Layout, relay: int, deadline: float) -> dict:
    while time.monotonic() < deadline:
        found = line(layout, relay)
        if found is not None:
            return found
        time.sleep(0.1)
    raise Failure(f"relay {relay} does not serve. Its log: {layout.file('log', f'relay{relay}.log')}")


def _run(layout: Layout, *words: str, store: str = "") -> str:
    # In the environment: other users see command lines.
    env = processes.environment(layout, **({"KUVERT_RELAY_STORE": store} if store else {}))
    command = [layout.relay_program, *words]
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=60, **processes.identity(layout.user))
    if done.returncode != 0:
        raise Failure(f"kuvert-relay {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
