"""The stand-in for the providers as a part of a stack, and an app's providers that lead to it."""

import pathlib
import signal

import processes
import readiness
from backends import bare_environment
from layout import REPOSITORY, StackError

NODE = pathlib.Path("/usr/bin/node")
PROGRAM = REPOSITORY / "deploy" / "sandbox" / "carillon-sandbox"
PORTS = ("http", "smtp", "apns", "control")


class Sandbox:
    """deploy/sandbox, on the ports of the stack."""

    name = "sandbox"
    stop_signal = signal.SIGTERM
    stop_seconds = 10
    start_seconds = 30

    def __init__(self, layout):
        self.layout = layout
        self.directory = layout.root / "sandbox"

    def start(self):
        if not NODE.exists() or not (PROGRAM.parent / "node_modules").exists():
            raise StackError("the sandbox is not installed; run ./dev setup")
        ports = [f"--{name}-port={self.layout.port(f'sandbox-{name}')}" for name in PORTS]
        processes.start(self.layout, self.name, [NODE, PROGRAM, "serve", f"--directory={self.directory}", *ports],
                        bare_environment())

    def not_ready(self):
        return readiness.http_ok(self.layout.port("sandbox-control"), "/healthz")

    def after_ready(self):
        """Nothing to do."""

    def variables(self):
        return {
            "CARILLON_SANDBOX_URL": self._url("control"),
            "CARILLON_SANDBOX_HTTP": self._url("http"),
            "CARILLON_SANDBOX_SMTP": self.layout.address("sandbox-smtp"),
            "CARILLON_SANDBOX_APNS": self._url("apns", "https"),
            "CARILLON_SANDBOX_DIRECTORY": str(self.directory),
        }

    def providers(self):
        """A carillon.v1.SetProvidersRequest for each channel; the sandbox must have run."""
        return [
            {"channel": "CHANNEL_EMAIL", "providers": [self._smtp(), self._sendgrid()]},
            {"channel": "CHANNEL_SMS", "providers": [self._twilio(), self._vonage()]},
            {"channel": "CHANNEL_APNS", "providers": [self._apns()]},
            {"channel": "CHANNEL_FCM", "providers": [self._fcm()]},
            {"channel": "CHANNEL_WEBHOOK", "providers": [self._webhook()]},
        ]

    def _smtp(self):
        return {"name": "smtp", "timeout": "10s", "smtp": {
            "host": "127.0.0.1", "port": self.layout.port("sandbox-smtp"), "security": "SMTP_SECURITY_NONE",
            "username": "sandbox", "password": "sandbox-password", **self._sender()}}

    def _sendgrid(self):
        return {"name": "mail-api", "sendgrid": {
            "endpoint": self._url("http"), "api_key": "SG.sandbox", **self._sender()}}

    def _twilio(self):
        return {"name": "twilio", "twilio": {
            "endpoint": self._url("http"), "account_sid": "ACsandbox", "username": "ACsandbox",
            "password": "sandbox-token", "from": "+15005550006"}}

    def _vonage(self):
        return {"name": "vonage", "vonage": {
            "endpoint": self._url("http"), "api_key": "sandbox", "api_secret": "sandbox-secret", "from": "Carillon"}}

    def _apns(self):
        return {"name": "apns", "ca_pem": self._read("ca.pem"), "apns": {
            "endpoint": self._url("apns", "https"), "team_id": "SANDBOXTID", "key_id": "SANDBOXKID",
            "private_key_pem": self._read("apns.p8"), "topic": "test.carillon.app"}}

    def _fcm(self):
        return {"name": "fcm", "fcm": {
            "endpoint": self._url("http"), "service_account_json": self._read("fcm-service-account.json")}}

    def _webhook(self):
        return {"name": "webhook", "webhook": {
            "url": self._url("http") + "/webhook/local", "secrets": [self.layout.state["webhook_secret"]]}}

    @staticmethod
    def _sender():
        return {"from_address": "carillon@example.test", "from_name": "Carillon"}

    def _url(self, port, scheme="http"):
        return f"{scheme}://{self.layout.address(f'sandbox-{port}')}"

    def _read(self, name):
        return (self.directory / name).read_text()
