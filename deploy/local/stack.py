#!/usr/bin/python3
"""Starts and stops a private Carillon: PostgreSQL, RabbitMQ, Redis, a stand-in for the
providers, and all processes, on loopback.

Everything of a stack lives in one directory (see layout.py); several stacks run
side by side. A stopped stack keeps its data, ports and secrets.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The directory may belong to someone else; nothing is written into it.
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import processes
import readiness
import services
from backends import Postgres, RabbitMq, Redis
from layout import REPOSITORY, Layout, StackError
from sandbox import Sandbox

BACKENDS = ("postgres", "rabbitmq", "redis", "sandbox")
PROCESSES = (*BACKENDS, "server", "relay", *(f"worker-{lane}" for lane in services.LANES))
SLOW_SECONDS = 10


class Stack:
    """All parts of one directory, in the order in which they start."""

    def __init__(self, layout, binaries=None, log_level="info"):
        self.layout = layout
        binaries = pathlib.Path(binaries or layout.state.get("binaries") or REPOSITORY / "build" / "bin").resolve()
        layout.state["binaries"] = str(binaries)
        self.binaries = binaries
        self.postgres, self.rabbitmq, self.redis = Postgres(layout), RabbitMq(layout), Redis(layout)
        self.sandbox = Sandbox(layout)
        self.backends = [self.postgres, self.rabbitmq, self.redis, self.sandbox]
        # What our own processes need.
        self.environment = {
            "CARILLON_DATABASE_URL": self.postgres.url(),
            "CARILLON_AMQP_URL": self.rabbitmq.url(),
            "CARILLON_REDIS_URL": self.redis.url(),
            "CARILLON_MASTER_KEY": layout.state["master_key"],
            "CARILLON_PUBLIC_URL": f"http://{layout.address('server-http')}",
        }
        self.services = services.all_services(layout, binaries, self.environment, log_level)
        self.parts = {part.name: part for part in self.backends + self.services}
        self._print_lock = threading.Lock()

    def variables(self):
        """What a program needs to use this system; its app exists once a service was started."""
        app = self.layout.state["app"]
        return {
            "CARILLON_ADDRESS": self.layout.address("server"),
            "CARILLON_APP_KEY": app["app_key"],
            "CARILLON_APP_SECRET": app["app_secret"],
            **self.environment,
            **self.sandbox.variables(),
            **services.metrics_variables(self.layout),
        }

    def up(self, names):
        """Starts what is not running of these parts."""
        chosen = [part for name, part in self.parts.items() if name in names]
        self.layout.write_environment({**self.environment, **self.sandbox.variables()})
        wanted_services = [part for part in chosen if part in self.services]
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            started = {part.name: pool.submit(self.ensure, part) for part in chosen if part in self.backends}
            if wanted_services:
                self._prepare_database(started.get("postgres"))
            for future in started.values():
                future.result()
            self.layout.save()
            for future in [pool.submit(self.ensure, part) for part in wanted_services]:
                future.result()
        self._wait_until_working([part for part in wanted_services if part.name != "server"])
        if wanted_services:
            self._set_providers()

    def _wait_until_working(self, services_):
        """After a start everything does its work; with a part down that is only said."""
        deadline = time.monotonic() + SLOW_SECONDS
        while idle := [part.name for part in services_ if not readiness.works(part.metrics_port)]:
            if time.monotonic() > deadline:
                self.say(f"  not at work yet: {', '.join(idle)}; see the logs")
                return
            time.sleep(0.05)

    def ensure(self, part):
        """Starts a part unless it runs, and waits until it serves."""
        began = time.monotonic()
        pid = processes.running_pid(self.layout, part.name)
        if pid is None:
            processes.kill_members(self.layout, part.name)
            part.start()
        self._wait_until_ready(part, began)
        part.after_ready()
        state = "ready" if pid is None else "was running"
        self.say(f"  {part.name:<17} {state} ({time.monotonic() - began:.1f} s)")

    def down(self):
        """Stops everything, the last started first. True if nothing had to be killed."""
        groups = [self.services[2:], self.services[1:2], self.services[:1], self.backends]
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            gentle = [result for group in groups for result in list(pool.map(self.stop, group))]
        self.rabbitmq.stop_epmd()
        left = processes.kill_members(self.layout)
        if left:
            self.say(f"  {left} processes had to be killed")
        return all(gentle) and not left

    def stop(self, part):
        """Asks a part to end; kills it if it does not in its time. True if it ended by itself."""
        if processes.running_pid(self.layout, part.name) is None:
            processes.end(self.layout, part.name, part.stop_signal, 0)
            return True
        began = time.monotonic()
        gentle = processes.end(self.layout, part.name, part.stop_signal, part.stop_seconds)
        how = "stopped" if gentle else f"KILLED after {part.stop_seconds} s"
        self.say(f"  {part.name:<17} {how} ({time.monotonic() - began:.1f} s)")
        return gentle

    def say(self, line):
        with self._print_lock:
            print(line, flush=True)

    def _prepare_database(self, postgres_start):
        if postgres_start is not None:
            postgres_start.result()
        services.migrate(self.binaries, self.environment)
        if "app" not in self.layout.state:
            self.layout.state["app"] = services.create_app(self.binaries, self.environment)
            self.layout.save()
        self.layout.write_environment(self.variables())

    def _set_providers(self):
        """The sandbox is all providers of the app, until somebody sets others."""
        app_key = self.layout.state["app"]["app_key"]
        running = all(processes.running_pid(self.layout, name) for name in ("server", "sandbox"))
        if not running or self.layout.state.get("providers_of") == app_key:
            return
        services.apply_providers(self.layout, self.binaries, self.variables(), self.sandbox.providers())
        self.layout.state["providers_of"] = app_key
        self.layout.save()

    def _wait_until_ready(self, part, began):
        told = False
        while True:
            why = part.not_ready()
            if why is None and processes.running_pid(self.layout, part.name) is not None:
                return
            waited = time.monotonic() - began
            if processes.running_pid(self.layout, part.name) is None:
                self._fail(part, "ended while it started")
            if waited > part.start_seconds:
                self._fail(part, f"is not ready after {part.start_seconds} s: {why}")
            if waited > SLOW_SECONDS and not told:
                self.say(f"  {part.name:<17} is slow: {why}")
                told = True
            time.sleep(0.05)

    def _fail(self, part, what):
        raise StackError(f"{part.name} {what}. The end of {self.layout.log_file(part.name)}:\n"
                         + processes.log_tail(self.layout, part.name))


def command_up(layout, arguments):
    with layout.locked():
        layout.open_or_create()
        stack = Stack(layout, arguments.binaries, arguments.log_level)
        stack.up(arguments.parts)
        layout.save()
    print(f"Up. To use it: . {layout.environment_file}")
    return 0


def command_down(layout, arguments):
    if not layout.exists():
        print(f"no stack in {layout.root}")
        return 0
    with layout.locked():
        layout.load()
        gentle = Stack(layout).down()
        if arguments.remove:
            layout.remove()
    print("Down." + ("" if gentle else " Not everything ended by itself: see above."))
    return 0 if gentle else 1


def command_start(layout, arguments):
    with layout.locked(arguments.process):
        layout.load()
        stack = Stack(layout)
        stack.ensure(stack.parts[arguments.process])
    return 0


def command_stop(layout, arguments):
    with layout.locked(arguments.process):
        layout.load()
        stack = Stack(layout)
        return 0 if stack.stop(stack.parts[arguments.process]) else 1


def command_kill(layout, arguments):
    with layout.locked(arguments.process):
        layout.load()
        processes.kill(layout, arguments.process)
    return 0


def command_status(layout, _arguments):
    layout.load()
    pids = {name: processes.running_pid(layout, name) for name in PROCESSES}
    for name, pid in pids.items():
        print(f"  {name:<17} {f'running, pid {pid}' if pid else 'not running'}")
    return 0 if all(pids.values()) else 3


def command_rabbitmqctl(layout, arguments):
    layout.load()
    return RabbitMq(layout).control(arguments.arguments)


def part_list(text):
    names = text.split(",")
    unknown = set(names) - set(PROCESSES)
    if unknown:
        raise argparse.ArgumentTypeError(f"no process {', '.join(sorted(unknown))}; there are {', '.join(PROCESSES)}")
    return names


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, function, text):
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", default=".run", metavar="D", help="the directory of the stack (default: .run)")
        command.set_defaults(function=function)
        return command

    def add_for_process(name, function, text):
        add(name, function, text).add_argument("process", choices=PROCESSES, metavar="PROCESS")

    up = add("up", command_up, "start what is not running")
    up.add_argument("--parts", metavar="A,B", type=part_list, default=PROCESSES,
                    help=f"only these, for example {','.join(BACKENDS)}")
    up.add_argument("--binaries", metavar="DIR", help="where our programs are (default: build/bin)")
    up.add_argument("--log-level", default="info", choices=["debug", "info", "warn", "error"])
    down = add("down", command_down, "stop everything; data, ports and secrets stay")
    down.add_argument("--remove", action="store_true", help="and delete the directory")
    add_for_process("start", command_start, "start one process")
    add_for_process("stop", command_stop, "stop one process gently")
    add_for_process("kill", command_kill, "kill one process with SIGKILL")
    add("status", command_status, "show what runs; status 3 if something does not")
    add("rabbitmqctl", command_rabbitmqctl, "run rabbitmqctl on the stack's node").add_argument(
        "arguments", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    try:
        return arguments.function(Layout(arguments.dir), arguments)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except subprocess.SubprocessError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # The reader of our output (head) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("stack: interrupted; './dev down' stops what was started", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
