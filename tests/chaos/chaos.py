#!/usr/bin/python3
"""Starts a private system and lets carillon-bench send under load while it kills
processes and takes Redis away, then compare what was accepted with what was
delivered.

Status 0 only if nothing was lost, doubled or out of order, and every fault struck
while the load ran. --seed repeats the plan of a run.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "deploy" / "local"))

# pylint: disable=wrong-import-position
from layout import Layout, StackError
from stack import PROCESSES, Stack


def run_load(stack, arguments, directory):
    """carillon-bench's status; it is killed if it takes too long."""
    command = [stack.binaries / "carillon-bench", "e2e", f"--count={arguments.count}",
               f"--in-flight={arguments.in_flight}", f"--chaos={arguments.faults}", f"--stack-dir={stack.layout.root}",
               f"--launcher={ROOT / 'deploy' / 'local' / 'stack.py'}",
               f"--postgres-seconds={arguments.postgres_seconds}", f"--accepted-log={directory / 'accepted.log'}"]
    if arguments.seed is not None:
        command.append(f"--seed={arguments.seed}")
    try:
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=arguments.seconds,
                              env={**os.environ, **stack.variables()}).returncode
    except subprocess.TimeoutExpired:
        print(f"chaos: the load did not end within {arguments.seconds:.0f} s")
        return 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000, help="notifications to send (default: 20000)")
    parser.add_argument("--in-flight", type=int, default=64, help="sends at a time (default: 64)")
    parser.add_argument("--seed", type=int, default=None, help="repeat a plan (default: a new one)")
    parser.add_argument("--faults", default="server,relay,worker,rabbitmq,redis",
                        help="which; also possible: postgres, purge (default: server,relay,worker,rabbitmq,redis)")
    parser.add_argument("--postgres-seconds", type=float, default=60, help="how long PostgreSQL is away (default: 60)")
    parser.add_argument("--seconds", type=float, default=600, help="limit for the load (default: 600)")
    parser.add_argument("--binaries", default=None, help="where our programs are (default: build/bin)")
    return parser.parse_args()


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
        sys.stdout.flush()
        status = run_load(stack, arguments, directory)
    except StackError as error:
        print(f"chaos: {error}", file=sys.stderr)
    finally:
        # A part that is being started just now is waited for.
        with layout.locked():
            if layout.exists() and not Stack(layout).down():
                status = status or 1
        if status == 0:
            layout.remove()
            shutil.rmtree(directory)
        else:
            print(f"chaos: logs and data are kept in {directory}")
    return status


if __name__ == "__main__":
    sys.exit(main())
