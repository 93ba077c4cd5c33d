"""A private system, and a Prometheus that watches it by the rules of deploy/prometheus, in quick motion."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from amqp import Broker

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
STACK = REPOSITORY / "deploy" / "local" / "stack.py"
BINARIES = REPOSITORY / "build" / "bin"
RULES = REPOSITORY / "deploy" / "prometheus" / "carillon.rules.yml"
LANES = ("payment", "otp", "social", "marketing", "fanout")
START_SECONDS = 200
COMMAND_SECONDS = 60
# What takes minutes in the rules takes seconds here; all else is as it is shipped.
QUICK_MOTION = (
    (r"for: \d+[sm]$", "for: 2s"),
    # A scrape that comes late on a busy machine looks like a process that is gone.
    (r"(alert: Carillon(?:ProcessDown|JobGone|MeasuresStale)\n(?:(?!      - alert).*\n)*? +for:) 2s$", r"\1 6s"),
    (r"\[\d+m\]", "[10s]"),
    (r"(sample_time_seconds\)) > 60", r"\1 > 10"),
    (r"(outbox_oldest_age_seconds\)) > 30", r"\1 > 3"),
    (r"(oldest_transaction_seconds\)) > 600", r"\1 > 3"),
)


def quick_rules():
    text = RULES.read_text()
    for slow, quick in QUICK_MOTION:
        text, count = re.subn(slow, quick, text, flags=re.MULTILINE)
        assert count, f"no rule says {slow}"
    return text


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=COMMAND_SECONDS) as answer:
        return answer.read().decode()


class MonitoredSystem:
    """Up once it is made; close() leaves nothing."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="carillon-monitored."))
        self._started = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        result = self.stack("up", "--binaries", BINARIES)
        assert result.returncode == 0, result.stdout + result.stderr
        command = ["env", "-i", "sh", "-c", f". {self.directory}/env && env -0"]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
        self.variables = dict(entry.split("=", 1) for entry in output.split("\0") if entry.startswith("CARILLON_"))
        self.environment = {**os.environ, **self.variables}
        self._start_strict_server()
        self._start_prometheus()

    def _start_strict_server(self):
        """A second server, which refuses a lane with 50 rows in its outbox."""
        port = free_port()
        self._run([BINARIES / "carillon-server", "--listen=127.0.0.1:0", "--outbox-bound=50",
                   f"--metrics-address=127.0.0.1:{port}"], self.environment)
        self.variables["CARILLON_METRICS_SERVER_2"] = f"http://127.0.0.1:{port}/metrics"

    def _start_prometheus(self):
        folder = self.directory / "prometheus"
        folder.mkdir()
        (folder / "rules.yml").write_text(quick_rules())
        jobs = {}
        for url in self.metrics_urls():
            jobs.setdefault(f"carillon-{url[0].split('_')[0].lower()}", []).append(urllib.parse.urlsplit(url[1]).netloc)
        (folder / "prometheus.yml").write_text(json.dumps({  # JSON is YAML.
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": targets}]}
                               for job, targets in jobs.items()]}))
        port = free_port()
        self.prometheus = f"http://127.0.0.1:{port}"
        self._run(["/usr/bin/prometheus", f"--config.file={folder}/prometheus.yml",
                   f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
                   "--log.level=warn"], os.environ)
        assert self.wait_for(self._prometheus_is_ready, 30), "Prometheus does not start"

    def _prometheus_is_ready(self):
        try:
            return get(f"{self.prometheus}/-/ready")
        except OSError:
            return False

    def _run(self, command, environment):
        with open(self.directory / "extra.log", "ab") as log:
            self._started.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                                  stderr=log, cwd=self.directory))

    def close(self):
        for process in self._started:
            process.kill()
            process.wait()
        for name in ("server", "relay", *(f"worker-{lane}" for lane in LANES)):
            self._signal(name, signal.SIGKILL)  # It may be frozen, or wait for backends that are gone.
        self.thaw_with_children("postgres")
        self.stack("down", "--remove")
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- What is done to it.

    def stack(self, command, *arguments):
        return subprocess.run([sys.executable, STACK, command, "--dir", self.directory, *arguments], check=False,
                              capture_output=True, text=True, timeout=START_SECONDS)

    def _signal(self, part, number):
        try:
            os.kill(int((self.directory / "pids" / f"{part}.pid").read_text()), number)
        except (FileNotFoundError, ProcessLookupError):
            pass

    def freeze(self, part):
        self._signal(part, signal.SIGSTOP)

    def thaw(self, part):
        self._signal(part, signal.SIGCONT)

    def _signal_with_children(self, part, number):
        self._signal(part, number)  # First, so that there come no more.
        try:
            pid = (self.directory / "pids" / f"{part}.pid").read_text().strip()
            for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), number)
        except (FileNotFoundError, ProcessLookupError):
            pass

    def freeze_with_children(self, part):
        """It keeps its connections, and accepts more, but answers nothing."""
        self._signal_with_children(part, signal.SIGSTOP)

    def thaw_with_children(self, part):
        self._signal_with_children(part, signal.SIGCONT)

    def psql(self):
        """A session that stays open; statements go to its standard input."""
        return subprocess.Popen(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.variables["CARILLON_DATABASE_URL"]],
                                env={**os.environ, "PGOPTIONS": "-c search_path=carillon"}, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def sql(self, statements):
        session = self.psql()
        output, _ = session.communicate(statements, timeout=COMMAND_SECONDS)
        assert session.returncode == 0, statements
        return output.strip()

    def broker(self):
        return Broker(self.variables["CARILLON_AMQP_URL"])

    def control(self, *arguments):
        result = subprocess.run([BINARIES / "carillonctl", *arguments, "--json"], check=False, text=True,
                                capture_output=True, env=self.environment, timeout=COMMAND_SECONDS)
        assert result.returncode == 0, f"carillonctl {arguments}: {result.stderr}"
        return json.loads(result.stdout) if result.stdout.strip() else {}

    def script(self, provider, rule):
        """Tells the stand-in for the providers how to answer; see deploy/sandbox."""
        request = urllib.request.Request(f"{self.variables['CARILLON_SANDBOX_URL']}/scripts/{provider}",
                                         json.dumps(rule).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=COMMAND_SECONDS):
            pass

    # --- What is seen of it.

    def metrics_urls(self):
        """(name, address) of every process of ours."""
        prefix = "CARILLON_METRICS_"
        return [(name[len(prefix):], url) for name, url in sorted(self.variables.items()) if name.startswith(prefix)]

    def query(self, expression):
        """The vector, or an exception with Prometheus' words."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            return json.loads(get(url))["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{expression}: {error.read().decode()}") from error

    def firing(self):
        alerts = json.loads(get(f"{self.prometheus}/api/v1/alerts"))["data"]["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

    @staticmethod
    def wait_for(condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True
