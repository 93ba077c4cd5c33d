"""Our own processes of a stack, the two steps that come before them (migrations and the
first app), and the one after them: the app's providers."""

import json
import os
import secrets
import signal
import subprocess

import processes
import readiness
from layout import StackError, write_private

LANES = ("payment", "otp", "social", "marketing", "fanout")
SCOPES = "send,feed,catalog,admin"
MIGRATE_SECONDS = 120
# By the rows of all lanes together: each of the five may have a million of them.
OUTBOX_BOUND = 5_000_000


class Service:
    """carillon-server, carillon-relay or a carillon-worker."""

    stop_signal = signal.SIGTERM
    stop_seconds = 40
    start_seconds = 60

    def __init__(self, layout, name, binary, arguments, environment):
        self.layout = layout
        self.name = name
        self.binary = binary
        self.arguments = arguments
        self.environment = environment
        self.metrics_port = layout.port(f"{name}-metrics")

    def start(self):
        if not self.binary.exists():
            raise StackError(f"{self.binary} does not exist; run ./dev build")
        command = [self.binary, *self.arguments, f"--metrics-address=127.0.0.1:{self.metrics_port}"]
        processes.start(self.layout, self.name, command, {**os.environ, **self.environment})

    def not_ready(self):
        return readiness.http_ok(self.metrics_port, "/metrics")

    def after_ready(self):
        """Nothing to do."""


class Server(Service):
    def not_ready(self):
        return (super().not_ready() or readiness.tcp(self.layout.port("server"))
                or readiness.tcp(self.layout.port("server-http")))


def all_services(layout, binaries, environment, log_level):
    level = f"--log-level={log_level}"
    server = Server(layout, "server", binaries / "carillon-server",
                    [f"--listen={layout.address('server')}", f"--http-listen={layout.address('server-http')}",
                     "--reflection", f"--outbox-bound={OUTBOX_BOUND}", level], environment)
    relay = Service(layout, "relay", binaries / "carillon-relay", [level], environment)
    # The sandbox, which receives the webhooks, is on loopback.
    workers = [Service(layout, f"worker-{lane}", binaries / "carillon-worker",
                       [f"--lane={lane}", "--allow-private-webhooks", level], environment) for lane in LANES]
    return [server, relay, *workers]


def migrate(binaries, environment):
    _control(binaries, environment, ["migrate"])


def create_app(binaries, environment):
    """An app with every scope. The name is new each time: an app of an interrupted run stays unused."""
    name = f"local-{secrets.token_hex(3)}"
    arguments = ["app", "create", name, "--direct", "--scopes", SCOPES, "--json"]
    answer = json.loads(_control(binaries, environment, arguments))
    return {"app_key": answer["app"]["app_key"], "app_secret": answer["app_secret"]}


def apply_providers(layout, binaries, environment, requests):
    """Sets the app's providers to these carillon.v1.SetProvidersRequest."""
    path = layout.root / "providers.json"
    write_private(path, json.dumps(requests, indent=2) + "\n")
    _control(binaries, environment, ["providers", "apply", str(path)])


def metrics_variables(layout):
    names = ["server", "relay", *(f"worker-{lane}" for lane in LANES)]
    return {f"CARILLON_METRICS_{name.upper().replace('-', '_')}":
            f"http://{layout.address(name + '-metrics')}/metrics" for name in names}


def _control(binaries, environment, arguments):
    program = binaries / "carillonctl"
    if not program.exists():
        raise StackError(f"{program} does not exist; run ./dev build")
    result = subprocess.run([program, *arguments], check=False, capture_output=True, text=True,
                            env={**os.environ, **environment}, timeout=MIGRATE_SECONDS)
    if result.returncode != 0:
        raise StackError(f"carillonctl {' '.join(arguments)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout
