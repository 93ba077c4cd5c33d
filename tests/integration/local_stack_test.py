#!/usr/bin/python3
"""deploy/local/stack.py: what it starts is private, comes back on the same ports, and leaves nothing."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

STACK = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "local" / "stack.py"
BACKENDS = ("postgres", "rabbitmq", "redis")
LIMIT_SECONDS = 200


def stack(command, directory, *arguments):
    return subprocess.run([sys.executable, STACK, command, "--dir", directory, *arguments], check=False,
                          capture_output=True, text=True, timeout=LIMIT_SECONDS)


def processes_that_mention(directory):
    """Pids with the directory in their command line, working directory or environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            text += os.readlink(entry / "cwd").encode()
        except OSError:
            continue
        if str(directory).encode() in text:
            found.append(int(entry.name))
    return found


def listeners_of(pids):
    """The local addresses on which these processes accept connections."""
    output = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True, timeout=10).stdout
    return [line.split()[3] for line in output.splitlines() if any(f"pid={pid}," in line for pid in pids)]


class LocalStack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="carillon-stack-test."))
        cls.up()

    @classmethod
    def tearDownClass(cls):
        stack("down", cls.directory)
        shutil.rmtree(cls.directory)

    @classmethod
    def up(cls):
        result = stack("up", cls.directory, "--parts", ",".join(BACKENDS))
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def pids(self):
        return {name: int((self.directory / "pids" / f"{name}.pid").read_text()) for name in BACKENDS}

    def test_listens_on_loopback_only(self):
        addresses = listeners_of(processes_that_mention(self.directory))
        self.assertGreaterEqual(len(addresses), 5)
        for address in addresses:
            self.assertRegex(address, r"^(127\.0\.0\.1|\[::1\]):")

    def test_keeps_secrets_from_other_users(self):
        for name in ("env", "state.json"):
            self.assertEqual((self.directory / name).stat().st_mode & 0o077, 0, name)

    def test_up_again_starts_only_what_is_not_running(self):
        before = self.pids()
        environment = (self.directory / "env").read_text()
        self.assertEqual(stack("kill", self.directory, "redis").returncode, 0)
        self.up()
        after = self.pids()
        self.assertEqual({name for name in BACKENDS if before[name] != after[name]}, {"redis"})
        self.assertEqual((self.directory / "env").read_text(), environment)

    def test_a_killed_postgres_comes_back(self):
        self.assertEqual(stack("kill", self.directory, "postgres").returncode, 0)
        result = stack("start", self.directory, "postgres")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_z_down_leaves_no_process(self):
        result = stack("down", self.directory)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(processes_that_mention(self.directory), [])


if __name__ == "__main__":
    unittest.main()
