"""Which programs are needed, and how they are found or installed."""

import os
import shutil
import subprocess
from pathlib import Path

from . import processes
from .words import MISSING, Failure, say

POSTGRES = "/usr/lib/postgresql/15/bin"
HERE = Path(__file__).resolve().parent.parent
REQUIREMENTS = HERE / "requirements.txt"

# Debian's packages, and a program by which each is recognised.
DEBIAN = {
    "postgresql-15": f"{POSTGRES}/postgres",
    "etcd-server": "etcd",
    "python3-venv": "/usr/share/doc/python3-venv",
}
DEBIAN_FOR_NAMESPACES = {"iproute2": "ip"}
DEBIAN_FOR_CLOCKS = {"faketime": "faketime"}


def found(program: str) -> str | None:
    """Where a program or file is."""
    if program.startswith("/"):
        return program if os.path.exists(program) else None
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def debian(packages: dict[str, str], may_install: bool) -> None:
    """Sees to it that packages are there: installs them as root in a container, else names the command."""
    missing = [package for package, program in packages.items() if found(program) is None]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    # Where systemd runs, the packages start a PostgreSQL and an etcd of their own: that is the operator's to decide.
    systemd = os.path.isdir("/run/systemd/system")
    if not may_install or os.geteuid() != 0 or systemd or found("apt-get") is None:
        and_then = "; systemctl disable --now etcd postgresql" if systemd else ""
        raise Failure(f"packages of Debian 12 are missing. As root: {' '.join(command)}{and_then}", MISSING)
    say(f"installing from Debian: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300", "-qq"]
    for words in (["apt-get", *wait, "update"], [command[0], *wait, *command[1:]]):
        done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"{' '.join(words)} failed: {done.stderr.strip()[-500:]}", MISSING)


def patroni(folder: str | None, user: str, may_install: bool) -> str:
    """Patroni of a virtual environment, which is made if need be."""
    if folder is None:
        folder = _default_folder()
    program = Path(folder).resolve() / "bin" / "patroni"
    wanted = REQUIREMENTS.read_text()
    made_of = Path(folder) / "requirements.txt"
    if not (program.exists() and made_of.exists() and made_of.read_text() == wanted):
        # Not the first python3 of the PATH: it may lie where the user that PostgreSQL runs as cannot go.
        python = found("/usr/bin/python3") or found("python3")
        commands = [[python, "-m", "venv", folder], [f"{folder}/bin/pip", "install", "-q", "-r", str(REQUIREMENTS)]]
        if not may_install:
            raise Failure(f"Patroni is missing. {' && '.join(' '.join(words) for words in commands)}", MISSING)
        say(f"installing Patroni from PyPI into {folder}")
        os.makedirs(folder, mode=0o755, exist_ok=True)
        for words in commands:
            done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, umask=0o022)
            if done.returncode != 0:
                raise Failure(f"{' '.join(words)} failed: {(done.stderr or done.stdout).strip()[-500:]}", MISSING)
        made_of.write_text(wanted)
    must_run(str(program), user)
    return str(program)


def _default_folder() -> str:
    if os.geteuid() == 0:
        return "/var/lib/kuvert-cluster/patroni"
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "kuvert-cluster/patroni")


def relay(asked_for: str | None, user: str) -> str:
    """The relay's program: the one asked for, of the PATH, or built in this checkout."""
    built = [HERE.parent.parent / "target" / profile / "kuvert-relay" for profile in ("dist", "release", "debug")]
    candidates = [asked_for] if asked_for else ["kuvert-relay", *map(str, built)]
    program = next((path for candidate in candidates if (path := found(candidate))), None)
    if program is None:
        hint = "build it with `cargo build --profile dist -p kuvert-relay-server`, or name it with --relay-program"
        raise Failure(f"kuvert-relay is not in the PATH: {hint}. --relays 0 does without", MISSING)
    program = os.path.realpath(program)
    must_run(program, user)
    return program


def must_run(program: str, user: str) -> None:
    """Refuses a program that the user cannot run."""
    if not may(user, "-x", program):
        raise Failure(f"the user {user or 'that you are'} cannot run {program}: put it where all users can go, such as /usr/local/bin")


def may(user: str, what: str, path: str) -> bool:
    """Asks `test` as that user."""
    return subprocess.run(["test", what, path], cwd="/", **processes.identity(user)).returncode == 0


def faketime() -> str:
    """The library that moves clocks."""
    paths = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not paths:
        raise Failure("libfaketime.so.1 is not where Debian puts it", MISSING)
    return str(paths[0])
