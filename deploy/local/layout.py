"""Where a stack keeps its things, and what it remembers between two runs.

D/env                sourceable, the addresses and credentials of the stack
D/pids/<process>.pid the process whose death is the death of the part
D/logs/<process>.log what it prints
D/state.json         ports and secrets, chosen once
D/data/              data directories of PostgreSQL, RabbitMQ and Redis
D/sandbox/           certificate and keys of the providers' stand-in
D/providers.json     what the app's providers were set to
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import pwd
import random
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
BACKEND_USER = "carillon"
LOCK_SECONDS = 300
# Below Linux's range for outgoing connections (32768 and up), so that a port is
# still free when its process comes back.
PORT_RANGE = range(20000, 32000)
PORT_NAMES = (
    "postgres", "rabbitmq", "rabbitmq-distribution", "epmd", "redis",
    "sandbox-http", "sandbox-smtp", "sandbox-apns", "sandbox-control", "server", "server-http",
    "server-metrics", "relay-metrics", "worker-payment-metrics", "worker-otp-metrics",
    "worker-social-metrics", "worker-marketing-metrics", "worker-fanout-metrics",
)


class StackError(Exception):
    """Something the user should read; the program ends with status 1."""


def backend_account():
    """The account that runs the backends: PostgreSQL refuses root. None: our own."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(BACKEND_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", BACKEND_USER],
                       check=True)
        return pwd.getpwnam(BACKEND_USER)


def as_account(account):
    """Arguments of subprocess that run a program as this account."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class Layout:
    """The directory of one stack. Not for use by several threads while it changes."""

    def __init__(self, directory):
        self.root = pathlib.Path(directory).resolve()
        self.pids = self.root / "pids"
        self.logs = self.root / "logs"
        self.data = self.root / "data"
        self.environment_file = self.root / "env"
        self.state_file = self.root / "state.json"
        self.state = {}

    def exists(self):
        return self.state_file.exists()

    def load(self):
        if not self.exists():
            raise StackError(f"no stack in {self.root}; './dev up --dir {self.root}' makes one")
        self.state = json.loads(self.state_file.read_text())
        # Made before these parts existed.
        ports = [name for name in PORT_NAMES if name not in self.state["ports"]]
        unknown = {name: secret for name, secret in choose_secrets().items() if name not in self.state}
        if ports or unknown:
            self.state["ports"].update(choose_ports(ports))
            self.state.update(unknown)
            self.save()

    def open_or_create(self):
        if self.exists():
            self.load()
            return
        if self.root.exists() and any(not path.name.startswith("lock") for path in self.root.iterdir()):
            raise StackError(f"{self.root} is not empty and holds no stack")
        self.logs.mkdir(parents=True, exist_ok=True)
        self.pids.mkdir(exist_ok=True)
        self._make_data_directory()
        self.state = {"ports": choose_ports(), **choose_secrets()}
        self.save()

    def save(self):
        write_private(self.state_file, json.dumps(self.state, indent=2) + "\n")

    def port(self, name):
        return self.state["ports"][name]

    def address(self, name):
        return f"127.0.0.1:{self.port(name)}"

    def pid_file(self, process):
        return self.pids / f"{process}.pid"

    def log_file(self, process):
        return self.logs / f"{process}.log"

    def write_environment(self, variables):
        lines = ["# Written by ./dev up. To use it: . " + shlex.quote(str(self.environment_file))]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        write_private(self.environment_file, "\n".join(lines) + "\n")

    def remove(self):
        data = self.data.resolve()
        shutil.rmtree(self.root)
        if data.exists():
            shutil.rmtree(data)

    @contextlib.contextmanager
    def locked(self, part=None):
        """One command at a time for the whole stack, or for one part of it; waits its turn."""
        self.root.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + LOCK_SECONDS
        with contextlib.ExitStack() as held:
            if part is None:
                self._lock(held, "lock", fcntl.LOCK_EX, deadline)
            else:
                self._lock(held, "lock", fcntl.LOCK_SH, deadline)
                self._lock(held, f"lock.{part}", fcntl.LOCK_EX, deadline)
            yield

    def _lock(self, held, name, kind, deadline):
        file = held.enter_context(open(self.root / name, "w", encoding="utf-8"))
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StackError(f"another command has held {self.root}/{name} for {LOCK_SECONDS} s") from None
                time.sleep(0.05)

    def _make_data_directory(self):
        """Root's backends run as another user, who must be able to reach their data."""
        account = backend_account()
        if account is not None:
            os.chmod(self.root, self.root.stat().st_mode | 0o011)
        if account is not None and not can_enter(account, self.root):
            elsewhere = tempfile.mkdtemp(prefix="carillon-", dir="/var/tmp")
            os.chmod(elsewhere, 0o711)
            self.data.symlink_to(elsewhere)
        else:
            self.data.mkdir(mode=0o711)


def can_enter(account, directory):
    return subprocess.run(["/usr/bin/test", "-x", str(directory)], check=False, cwd="/",
                          **as_account(account)).returncode == 0


def write_private(path, text, account=None, mode=0o600):
    """Replaces a file as a whole; readable by its owner only."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    if account is not None:
        os.chown(new, account.pw_uid, account.pw_gid)
    os.chmod(new, mode)
    os.replace(new, path)


def choose_secrets():
    return {
        "postgres_password": secrets.token_hex(16),
        "rabbitmq_password": secrets.token_hex(16),
        "erlang_cookie": secrets.token_hex(16),
        "master_key": secrets.token_hex(32),
        "webhook_secret": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    }


def choose_ports(names=PORT_NAMES):
    """A free port per name. All are held until all are chosen, so they differ."""
    held = []
    try:
        for candidate in random.SystemRandom().sample(PORT_RANGE, len(PORT_RANGE)):
            if len(held) == len(names):
                break
            listener = socket.socket()
            try:
                listener.bind(("127.0.0.1", candidate))
                held.append(listener)
            except OSError:
                listener.close()
        if len(held) < len(names):
            raise StackError("no free ports on 127.0.0.1")
        return {name: listener.getsockname()[1] for name, listener in zip(names, held)}
    finally:
        for listener in held:
            listener.close()
