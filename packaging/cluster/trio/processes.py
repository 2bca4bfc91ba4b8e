"""Starting, knowing again and ending processes. A process is known by its number and by when it began, so that a number which the
system gave to another process meanwhile is never signalled."""

import json
import os
import pwd
import signal
import subprocess
import time
from pathlib import Path

from .layout import Layout
from .words import Failure


def began(pid: int) -> int | None:
    """When a living process began, in the kernel's ticks; none if there is no such process, or only its remains."""
    try:
        # The command's name stands in parentheses and may hold anything: what follows the last one counts.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def children(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = tasks.read_text().split()
        except OSError:
            continue
        for child in below:
            found += children(int(child))
    return found


def send(pids: list[int], number: int) -> None:
    """A signal to each that still lives."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def remember(layout: Layout, name: str, pid: int) -> None:
    """Notes which process has a role."""
    new = layout.file("run", name + ".new")
    new.write_text(json.dumps({"pid": pid, "began": began(pid)}))
    new.rename(layout.file("run", name))


def known(layout: Layout, name: str) -> int | None:
    """The living process of a role: `keeper`, `etcd1`, `patroni1`, `relay1`, or `postgres1`."""
    if name.startswith("postgres"):
        return _postmaster(layout.data(int(name[8:])))
    try:
        noted = json.loads(layout.file("run", name).read_text())
    except (OSError, ValueError):
        return None
    pid = noted["pid"]
    return pid if noted["began"] is not None and began(pid) == noted["began"] else None


def _postmaster(data: Path) -> int | None:
    """PostgreSQL notes its number itself. It works in its data directory: another process with that number does not."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        ours = os.readlink(f"/proc/{pid}/cwd") == str(data.resolve())
    except (OSError, ValueError):
        return None
    return pid if ours and began(pid) is not None else None


def identity(user: str) -> dict:
    """Arguments of `subprocess.Popen` that make a child run as a user; none for the caller."""
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


def as_user(user: str) -> list[str]:
    """The words that make a command run as a user; none for the caller."""
    if not user:
        return []
    entry = pwd.getpwnam(user)
    return ["setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups", "--"]


def environment(layout: Layout, **more: str) -> dict[str, str]:
    """What a child has: nothing of the caller's."""
    path = f"{layout.postgres_programs}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": layout.directory, "LANG": "C.UTF-8", **more}


def start(layout: Layout, name: str, command: list[str], env: dict[str, str], user: str) -> subprocess.Popen:
    """Starts a process of a user's in a session of its own, with its output in `DIR/log/NAME.log`."""
    with open(layout.file("log", name + ".log"), "ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd=layout.directory,
            start_new_session=True,
            umask=0o077,
            # The keeper blocks the signals that it waits for; what it starts must not.
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ()),
            **identity(user),
        )
    remember(layout, name, child.pid)
    return child


def end(layout: Layout, names: list[str], number: int, patience: float) -> None:
    """Ends processes, with SIGKILL if they do not go in time. Ones that were stopped are continued first."""
    living = {name: pid for name in names if (pid := known(layout, name)) is not None}
    for pid in living.values():
        send(children(pid), signal.SIGCONT)
        send([pid], number)
    deadline = time.monotonic() + patience
    while living and time.monotonic() < deadline:
        time.sleep(0.05)
        living = {name: pid for name, pid in living.items() if known(layout, name) == pid}
    for pid in living.values():
        send(children(pid), signal.SIGKILL)


def own(layout: Layout, path: Path) -> None:
    """Gives a path to the user that all runs as."""
    if layout.user:
        entry = pwd.getpwnam(layout.user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def write(layout: Layout, path: Path, text: str) -> None:
    """A file that only that user reads."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    own(layout, path)


def mount_disk(path: Path, mib: int) -> None:
    """A disk in memory, of a size."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", str(path)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"no disk can be mounted on {path}: {done.stderr.strip()}")


def unmount_disk(path: Path) -> None:
    """Undoes `mount_disk`, if it was done."""
    if os.path.ismount(path):
        subprocess.run(["umount", "-l", str(path)], capture_output=True)
