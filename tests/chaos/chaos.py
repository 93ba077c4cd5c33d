#!/usr/bin/python3
"""Sends under load while processes are killed and Redis is lost, and lets
carillon-bench compare what was accepted with what was delivered.

Each fault strikes when a random share of the sends has been accepted; the seed
is printed, and --seed repeats the same plan. Status 0 only if nothing was lost,
doubled or out of order, and every fault struck while the load ran.
"""

import argparse
import os
import pathlib
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "deploy" / "local"))

# pylint: disable=wrong-import-position
import processes
import services
from backends import VHOST
from layout import Layout, StackError
from stack import PROCESSES, Stack

POLL_SECONDS = 0.05
# Shares of the sends between which faults strike: not before the load has begun,
# and early enough that it still runs.
EARLIEST, LATEST = 0.05, 0.8
SOCIAL_QUEUES = ("social", "social.follow", "social.like", "social.chat")


class Fault:
    """One planned fault: what, when (share of the sends accepted) and for how long."""

    def __init__(self, name, strike, share, seconds):
        self.name = name
        self.strike = strike
        self.share = share
        self.seconds = seconds


def kill_and_restart(part):
    def strike(stack, seconds):
        processes.kill(stack.layout, part)
        time.sleep(seconds)
        stack.ensure(stack.parts[part])
    return strike


def flush_and_stop_redis(stack, seconds):
    url = stack.redis.url()
    subprocess.run(["redis-cli", "-u", url, "FLUSHALL"], check=True, capture_output=True, timeout=10)
    stack.stop(stack.redis)
    time.sleep(seconds)
    stack.ensure(stack.redis)


def stop_postgres(stack, seconds):
    stack.stop(stack.postgres)
    time.sleep(seconds)
    stack.ensure(stack.postgres)


def purge_social_queues(stack, seconds):
    """What lay in the queues is gone from the broker; housekeeping must notice and enqueue it again."""
    worker = stack.parts["worker-social"]
    stack.stop(worker)
    time.sleep(seconds)
    for queue in SOCIAL_QUEUES:
        stack.rabbitmq.control(["-q", "purge_queue", "-p", VHOST, queue])
    stack.ensure(worker)


def plan_faults(chance, arguments):
    worker = f"worker-{chance.choice(services.LANES)}"
    faults = {
        "server": ("kill -9 server", kill_and_restart("server")),
        "relay": ("kill -9 relay", kill_and_restart("relay")),
        "worker": (f"kill -9 {worker}", kill_and_restart(worker)),
        "rabbitmq": ("kill -9 rabbitmq", kill_and_restart("rabbitmq")),
        "redis": ("flush and stop redis", flush_and_stop_redis),
        "postgres": ("stop postgres", stop_postgres),
        "purge": ("purge the social queues", purge_social_queues),
    }
    lengths = {"postgres": arguments.postgres_seconds, "purge": 5}
    planned = []
    for name in arguments.faults.split(","):
        seconds = lengths.get(name, chance.uniform(0.2, 2))
        planned.append(Fault(*faults[name], chance.uniform(EARLIEST, LATEST), seconds))
    return sorted(planned, key=lambda fault: fault.share)


class Load:
    """carillon-bench at work, and how far it is by its log of accepted ids."""

    def __init__(self, stack, arguments, directory):
        self._log = directory / "accepted.log"
        self._report = directory / "report.txt"
        environment = {**os.environ, **stack.variables(), "CARILLON_STACK_DIR": str(stack.layout.root)}
        with open(self._report, "wb") as report:
            self._process = subprocess.Popen(
                [stack.binaries / "carillon-bench", "e2e", f"--count={arguments.count}",
                 f"--in-flight={arguments.in_flight}", f"--accepted-log={self._log}"],
                stdin=subprocess.DEVNULL, stdout=report, stderr=report, env=environment)

    def accepted(self):
        try:
            return self._log.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def is_running(self):
        return self._process.poll() is None

    def wait(self, seconds):
        """Its exit status; it is killed if it takes longer."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"chaos: the load did not end within {seconds:.0f} s")
            self.stop()
            return 1

    def stop(self):
        self._process.kill()
        self._process.wait()

    def report(self):
        return self._report.read_text(errors="replace")


def strike_all(stack, load, faults, arguments, began):
    """Returns how many struck while the load ran."""
    struck = 0
    for fault in faults:
        wanted = int(fault.share * arguments.count)
        while load.is_running() and load.accepted() < wanted and time.monotonic() - began < arguments.seconds:
            time.sleep(POLL_SECONDS)
        if not load.is_running() or load.accepted() < wanted:
            print(f"chaos: the load was over before '{fault.name}'")
            continue
        print(f"[{time.monotonic() - began:6.1f} s] {fault.name}, for {fault.seconds:.1f} s, "
              f"at {load.accepted()} accepted", flush=True)
        fault.strike(stack, fault.seconds)
        struck += 1
    return struck


def run(stack, arguments, directory):
    chance = random.Random(arguments.seed)
    faults = plan_faults(chance, arguments)
    print(f"chaos: {arguments.count} sends, {arguments.in_flight} in flight, seed {arguments.seed}", flush=True)
    began = time.monotonic()
    load = Load(stack, arguments, directory)
    try:
        struck = strike_all(stack, load, faults, arguments, began)
        status = load.wait(max(1, arguments.seconds - (time.monotonic() - began)))
    finally:
        if load.is_running():
            load.stop()
    print(load.report())
    print(f"chaos: {struck} of {len(faults)} faults struck under load, the comparison "
          f"{'found nothing wrong' if status == 0 else f'failed (status {status})'}, seed {arguments.seed}")
    return 0 if status == 0 and struck == len(faults) else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000, help="notifications to send (default: 20000)")
    parser.add_argument("--in-flight", type=int, default=64, help="sends at a time (default: 64)")
    parser.add_argument("--seed", type=int, default=None, help="repeat a plan (default: a new one)")
    parser.add_argument("--faults", default="server,relay,worker,rabbitmq,redis",
                        help="which; also possible: postgres, purge (default: server,relay,worker,rabbitmq,redis)")
    parser.add_argument("--postgres-seconds", type=float, default=60, help="how long PostgreSQL is away (default: 60)")
    parser.add_argument("--seconds", type=float, default=600, help="limit for all of it (default: 600)")
    parser.add_argument("--binaries", default=None, help="where our programs are (default: build/bin)")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(2**31)
    return arguments


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="carillon-chaos."))
    layout = Layout(directory / "stack")
    status = 1
    try:
        layout.open_or_create()
        stack = Stack(layout, arguments.binaries)
        stack.up(PROCESSES)
        status = run(stack, arguments, directory)
    except StackError as error:
        print(f"chaos: {error}", file=sys.stderr)
    finally:
        if layout.exists() and not Stack(layout).down():
            status = 1
        if status == 0:
            layout.remove()
            shutil.rmtree(directory)
        else:
            print(f"chaos: logs and data are kept in {directory}")
    return status


if __name__ == "__main__":
    sys.exit(main())
