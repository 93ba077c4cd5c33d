#!/usr/bin/python3
"""deploy/local/stack.py: what it starts is private, comes back on the same ports, and leaves nothing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

STACK = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "local" / "stack.py"
PARTS = ("postgres", "rabbitmq", "redis", "sandbox")
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
        result = stack("up", cls.directory, "--parts", ",".join(PARTS))
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def pids(self):
        return {name: int((self.directory / "pids" / f"{name}.pid").read_text()) for name in PARTS}

    def variables(self):
        """What D/env sets."""
        command = ["env", "-i", "sh", "-c", f". {self.directory}/env && env -0"]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
        return dict(entry.split("=", 1) for entry in output.split("\0") if entry)

    def test_listens_on_loopback_only(self):
        addresses = listeners_of(processes_that_mention(self.directory))
        self.assertGreaterEqual(len(addresses), 9)
        for address in addresses:
            self.assertRegex(address, r"^(127\.0\.0\.1|\[::1\]):")

    def test_keeps_secrets_from_other_users(self):
        for name in ("env", "state.json", "sandbox"):
            self.assertEqual((self.directory / name).stat().st_mode & 0o077, 0, name)

    def test_tells_where_the_stand_in_for_the_providers_is(self):
        variables = self.variables()
        with urllib.request.urlopen(variables["CARILLON_SANDBOX_URL"] + "/healthz", timeout=10) as answer:
            ports = json.load(answer)["ports"]
        self.assertEqual({name: variables[f"CARILLON_SANDBOX_{name}"] for name in ("HTTP", "SMTP", "APNS")},
                         {"HTTP": f"http://127.0.0.1:{ports['http']}", "SMTP": f"127.0.0.1:{ports['smtp']}",
                          "APNS": f"https://127.0.0.1:{ports['apns']}"})
        directory = pathlib.Path(variables["CARILLON_SANDBOX_DIRECTORY"])
        self.assertLessEqual({"ca.pem", "apns.p8", "fcm-service-account.json"},
                             {path.name for path in directory.iterdir()})
        self.assertRegex(variables["CARILLON_MASTER_KEY"], "^[0-9a-f]{64}$")
        self.assertRegex(variables["CARILLON_PUBLIC_URL"], r"^http://127\.0\.0\.1:\d+$")

    def test_a_killed_stand_in_comes_back_as_it_was(self):
        names = ("ca.pem", "apns.p8", "fcm-service-account.json")
        before = [(self.directory / "sandbox" / name).read_text() for name in names]
        self.assertEqual(stack("kill", self.directory, "sandbox").returncode, 0)
        self.up()
        self.assertEqual([(self.directory / "sandbox" / name).read_text() for name in names], before)
        self.test_tells_where_the_stand_in_for_the_providers_is()

    def test_up_again_starts_only_what_is_not_running(self):
        before = self.pids()
        environment = (self.directory / "env").read_text()
        self.assertEqual(stack("kill", self.directory, "redis").returncode, 0)
        self.up()
        after = self.pids()
        self.assertEqual({name for name in PARTS if before[name] != after[name]}, {"redis"})
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
