"""Background processes of a stack: started, found again, ended for certain.

Every process carries the directory of its stack and the name of its part in its
environment, so a pid that was given to a stranger is never taken for ours.
"""

import os
import pathlib
import signal
import subprocess
import time

from layout import StackError, as_account

STACK_VARIABLE = "CARILLON_STACK"
PART_VARIABLE = "CARILLON_STACK_PART"
POLL_SECONDS = 0.02


def start(layout, process, command, environment, account=None, directory=None, pid_file=None):
    """Starts a process in a session of its own and writes its pid file."""
    environment = {**environment, STACK_VARIABLE: str(layout.root), PART_VARIABLE: process}
    with open(layout.log_file(process), "ab") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                 cwd=directory or layout.root, start_new_session=True, **as_account(account))
    path = pid_file or layout.pid_file(process)
    path.with_suffix(".new").write_text(f"{child.pid}\n")
    os.replace(path.with_suffix(".new"), path)
    return child.pid


def running_pid(layout, process, pid_file=None):
    """The pid of the part if it runs, else None."""
    path = pid_file or layout.pid_file(process)
    try:
        pid = int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    # While a program is replaced by exec, its environment is empty for a moment, and a
    # part may start as a chain of scripts: only what stays unmarked is a stranger.
    settled = wait_until(lambda: not is_alive(pid) or _marked(pid, layout, process), 2)
    return pid if settled and is_alive(pid) else None


def is_alive(pid):
    try:
        # The state is the first field after the command's closing parenthesis.
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    if state == "Z":
        _reap(pid)
    return state not in "ZX"


def members(layout, process=None):
    """Every live process of the stack, or of one part of it, children included."""
    candidates = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]
    return [pid for pid in candidates
            if is_alive(pid) and (_marked(pid, layout, process) or _is_postgres_child(pid, layout, process))]


def end(layout, process, first_signal, seconds, pid_file=None):
    """Sends the signal, waits, and kills what is left. False if it had to kill."""
    pid = running_pid(layout, process, pid_file)
    gentle = True
    if pid is not None:
        send(pid, first_signal)
        gentle = wait_until(lambda: not is_alive(pid), seconds)
    kill_members(layout, process, patience=3)
    (pid_file or layout.pid_file(process)).unlink(missing_ok=True)
    return gentle


def kill(layout, process):
    """Kills the part at once and waits until nothing of it is left."""
    pid = running_pid(layout, process)
    if pid is None:
        raise StackError(f"{process} is not running")
    send(pid, signal.SIGKILL)
    if not wait_until(lambda: not is_alive(pid), 10):
        raise StackError(f"{process} (pid {pid}) survives SIGKILL")
    kill_members(layout, process, patience=5)


def kill_members(layout, process=None, patience=0):
    """Waits for the children of a dead part, then kills them. Returns how many it killed."""
    if wait_until(lambda: not members(layout, process), patience):
        return 0
    left = members(layout, process)
    for pid in left:
        send(pid, signal.SIGKILL)
    if not wait_until(lambda: not members(layout, process), 10):
        raise StackError(f"these survive SIGKILL: {members(layout, process)}")
    return len(left)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def log_tail(layout, process, lines=25):
    try:
        text = layout.log_file(process).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def _environment(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _marked(pid, layout, process):
    environment = _environment(pid).split(b"\0")
    if f"{STACK_VARIABLE}={layout.root}".encode() not in environment:
        return False
    return process is None or f"{PART_VARIABLE}={process}".encode() in environment


def _is_postgres_child(pid, layout, process):
    """PostgreSQL's children write their titles over their environment; they work in the data directory."""
    if process not in (None, "postgres"):
        return False
    try:
        name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        return name == "postgres" and os.readlink(f"/proc/{pid}/cwd") == str(layout.data.resolve() / "postgres")
    except OSError:
        return False


def _reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
