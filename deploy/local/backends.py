"""PostgreSQL, RabbitMQ and Redis of a stack: private, on loopback, as an ordinary user."""

import os
import pathlib
import shutil
import signal
import subprocess
import urllib.parse

import processes
import readiness
from layout import StackError, as_account, backend_account, write_private

DATABASE = "carillon"
USER = "carillon"
VHOST = "carillon"
RABBITMQ_SCRIPTS = pathlib.Path("/usr/lib/rabbitmq/bin")

POSTGRES_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_compression = lz4
wal_init_zero = off
max_locks_per_transaction = 256
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
"""

RABBITMQ_SETTINGS = """
listeners.tcp.default = 127.0.0.1:{port}
distribution.listener.interface = 127.0.0.1
distribution.listener.port_range.min = {distribution_port}
distribution.listener.port_range.max = {distribution_port}
default_user = {user}
default_pass = {password}
default_vhost = {vhost}
log.console = true
log.console.level = info
log.file = false
vm_memory_high_watermark.relative = 0.25
disk_free_limit.absolute = 200MB
raft.wal_max_size_bytes = 67108864
"""

REDIS_SETTINGS = """
bind 127.0.0.1
port {port}
protected-mode yes
daemonize no
dir {directory}
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
set-proc-title no
"""


def bare_environment(**variables):
    """What a backend needs of ours; nothing of the caller's reaches it."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **variables}


class Backend:
    """A part with a data directory of its own."""

    stop_signal = signal.SIGTERM
    stop_seconds = 30
    start_seconds = 60

    def __init__(self, layout):
        self.layout = layout
        self.account = backend_account()
        self.directory = layout.data.resolve() / self.name

    def make_directory(self, path):
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def after_ready(self):
        """Runs once the part serves."""


class Postgres(Backend):
    name = "postgres"
    # Fast shutdown: open sessions are ended; SIGTERM would wait for them.
    stop_signal = signal.SIGINT

    def __init__(self, layout):
        super().__init__(layout)
        self.binaries = self._find_binaries()
        self.port = layout.port("postgres")

    def url(self):
        password = self.layout.state["postgres_password"]
        options = urllib.parse.quote("-csearch_path=carillon")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}?options={options}"

    def start(self):
        if not (self.directory / "PG_VERSION").exists():
            self._initialise()
        # Nothing of ours is alive here (Stack.ensure saw to that), but the dead
        # postmaster may still be a zombie, which PostgreSQL would take for a live one.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        processes.start(self.layout, self.name, [self.binaries / "postgres", "-D", self.directory],
                        bare_environment(), self.account, self.directory)

    def not_ready(self):
        return readiness.postgres(self.binaries, self.port)

    def after_ready(self):
        if self.layout.state.get("database_created"):
            return
        exists = f"SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'"
        if self._query(exists) == "0":
            self._query(f"CREATE DATABASE {DATABASE}")
        self.layout.state["database_created"] = True

    def _initialise(self):
        # In a directory aside, so that an interrupted initdb is never taken for a database.
        new = self.directory.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        self.make_directory(new)
        password_file = self.directory.with_name("postgres.password")
        write_private(password_file, self.layout.state["postgres_password"] + "\n", self.account)
        try:
            self._run([self.binaries / "initdb", "-D", new, "-U", USER, "-A", "scram-sha-256", "--pwfile",
                       password_file, "-E", "UTF8", "--locale=C.UTF-8"], cwd=new, **as_account(self.account))
        finally:
            password_file.unlink()
        with open(new / "postgresql.conf", "a", encoding="utf-8") as settings:
            settings.write(POSTGRES_SETTINGS.format(port=self.port))
        new.rename(self.directory)

    def _query(self, statement):
        environment = bare_environment(PGPASSWORD=self.layout.state["postgres_password"])
        return self._run([self.binaries / "psql", "-X", "-At", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER,
                          "-d", "postgres", "-c", statement], env=environment).strip()

    @staticmethod
    def _run(command, **arguments):
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **arguments)
        if result.returncode != 0:
            raise StackError(f"{pathlib.Path(command[0]).name} failed:\n{result.stdout}{result.stderr}")
        return result.stdout

    @staticmethod
    def _find_binaries():
        for directory in (pathlib.Path("/usr/lib/postgresql/15/bin"), pathlib.Path("/usr/bin")):
            if (directory / "initdb").exists():
                return directory
        raise StackError("PostgreSQL 15 is not installed; run ./dev setup")


class RabbitMq(Backend):
    name = "rabbitmq"
    stop_seconds = 60
    start_seconds = 120

    def __init__(self, layout):
        super().__init__(layout)
        if not (RABBITMQ_SCRIPTS / "rabbitmq-server").exists():
            raise StackError("RabbitMQ is not installed; run ./dev setup")
        self.port = layout.port("rabbitmq")
        self.epmd_pid_file = self.directory.parent / "epmd.pid"

    def url(self):
        return f"amqp://{USER}:{self.layout.state['rabbitmq_password']}@127.0.0.1:{self.port}/{VHOST}"

    def start(self):
        self._write_settings()
        self._start_epmd()
        processes.start(self.layout, self.name, [RABBITMQ_SCRIPTS / "rabbitmq-server"], self._environment(),
                        self.account, self.directory)

    def not_ready(self):
        return readiness.amqp(self.port, USER, self.layout.state["rabbitmq_password"], VHOST)

    def stop_epmd(self):
        processes.end(self.layout, "epmd", signal.SIGTERM, 5, self.epmd_pid_file)

    def control(self, arguments):
        """Runs rabbitmqctl against this node and returns its exit status."""
        return subprocess.run([RABBITMQ_SCRIPTS / "rabbitmqctl", *arguments], check=False, cwd=self.directory,
                              env=self._environment(), timeout=120, **as_account(self.account)).returncode

    def _start_epmd(self):
        # Ours, in the foreground, on loopback: left to itself, every Erlang program
        # starts one for the whole machine that listens everywhere and stays.
        if processes.running_pid(self.layout, "epmd", self.epmd_pid_file) is not None:
            return
        port = self.layout.port("epmd")
        processes.start(self.layout, "epmd", ["epmd", "-address", "127.0.0.1", "-port", str(port)],
                        bare_environment(), self.account, "/", self.epmd_pid_file)
        if not processes.wait_until(lambda: readiness.tcp(port) is None, 10):
            raise StackError("epmd does not start:\n" + processes.log_tail(self.layout, "epmd"))

    def _write_settings(self):
        self.make_directory(self.directory)
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, self.layout.state["erlang_cookie"], self.account, 0o400)
        settings = RABBITMQ_SETTINGS.format(
            port=self.port, distribution_port=self.layout.port("rabbitmq-distribution"), user=USER, vhost=VHOST,
            password=self.layout.state["rabbitmq_password"])
        write_private(self.directory / "rabbitmq.conf", settings, self.account)
        write_private(self.directory / "enabled_plugins", "[].\n", self.account)

    def _environment(self):
        directory = str(self.directory)
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return bare_environment(
            HOME=directory,
            ERL_EPMD_ADDRESS="127.0.0.1",
            ERL_EPMD_PORT=str(self.layout.port("epmd")),
            RABBITMQ_NODENAME="carillon@localhost",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_DIST_PORT=str(self.layout.port("rabbitmq-distribution")),
            RABBITMQ_CONF_ENV_FILE=f"{directory}/rabbitmq-env.conf",
            RABBITMQ_CONFIG_FILE=f"{directory}/rabbitmq.conf",
            RABBITMQ_ADVANCED_CONFIG_FILE=f"{directory}/advanced.config",
            RABBITMQ_ENABLED_PLUGINS_FILE=f"{directory}/enabled_plugins",
            RABBITMQ_MNESIA_BASE=f"{directory}/mnesia",
            RABBITMQ_LOG_BASE=f"{directory}/log",
            RABBITMQ_LOGS="-",
            # Makes the script become the virtual machine instead of its parent, so
            # that our pid is the pid that matters; -noinput, as there is no terminal.
            RABBITMQ_ALLOW_INPUT="true",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=f"-noinput {loopback}",
            RABBITMQ_CTL_ERL_ARGS=loopback,
        )


class Redis(Backend):
    name = "redis"

    def __init__(self, layout):
        super().__init__(layout)
        self.port = layout.port("redis")

    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self.make_directory(self.directory)
        write_private(self.directory / "redis.conf",
                      REDIS_SETTINGS.format(port=self.port, directory=self.directory), self.account)
        processes.start(self.layout, self.name, ["/usr/bin/redis-server", self.directory / "redis.conf"],
                        bare_environment(), self.account, self.directory)

    def not_ready(self):
        return readiness.redis(self.port)
