"""deploy/local/processes.py: parts of a stack are known again, and strangers are not taken for them."""

import os
import pathlib
import signal
import sys
import tempfile
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "deploy" / "local"))
sys.dont_write_bytecode = True

import processes  # pylint: disable=wrong-import-position

PART = "part"
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def layout_in(directory):
    root = pathlib.Path(directory)
    return types.SimpleNamespace(root=root, log_file=lambda part: root / f"{part}.log",
                                 pid_file=lambda part: root / f"{part}.pid")


class RunningPid(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.layout = layout_in(directory.name)

    def start(self, command, layout=None):
        pid = processes.start(layout or self.layout, PART, command, ENVIRONMENT)
        self.addCleanup(lambda: processes.wait_until(lambda: not processes.is_alive(pid), 10))
        self.addCleanup(processes.send, pid, signal.SIGKILL)
        return pid

    def test_sees_a_part_while_it_is_replaced_by_exec(self):
        # RabbitMQ's start is a chain of such scripts; this one never ends.
        script = self.layout.root / "again.sh"
        script.write_text('#!/bin/sh\nexec "$0"\n')
        script.chmod(0o755)
        pid = self.start([str(script)])
        # Where one look is trusted, about one in twenty of them misses it.
        seen = [processes.running_pid(self.layout, PART) for _ in range(500)]
        self.assertEqual([pid] * 500, seen)

    def test_knows_when_a_part_has_ended(self):
        pid = self.start(["true"])
        self.assertTrue(processes.wait_until(lambda: not processes.is_alive(pid), 10))
        self.assertIsNone(processes.running_pid(self.layout, PART))

    def test_does_not_take_a_stranger_for_a_part(self):
        with tempfile.TemporaryDirectory() as directory:
            other = layout_in(directory)
            pid = self.start(["sleep", "60"], other)
            self.layout.pid_file(PART).write_text(f"{pid}\n")
            self.assertIsNone(processes.running_pid(self.layout, PART))
            self.assertEqual(pid, processes.running_pid(other, PART))
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
