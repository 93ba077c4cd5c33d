#!/usr/bin/python3
"""deploy/sandbox: it answers as the real providers do, fails when it is told to, and shows what arrived."""

import base64
import email.message
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.parse

SANDBOX = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "sandbox" / "carillon-sandbox"
NODE = "/usr/bin/node"
LIMIT_SECONDS = 20
# How long a client waits for an answer that must not come.
PATIENCE_SECONDS = 2
FORM = "application/x-www-form-urlencoded"
MESSAGES = "/2010-04-01/Accounts/ACsandbox/Messages.json"
FCM = "/v1/projects/sandbox/messages:send"
DEVICE = "0123456789abcdef" * 4
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"carillon's sandbox's own secret").decode()


class Sandbox:
    """A sandbox on ports of its own choice."""

    def __init__(self, directory, *arguments):
        self.directory = directory
        self.process = subprocess.Popen([NODE, SANDBOX, "serve", "--directory", directory, *arguments],
                                        stdout=subprocess.PIPE, text=True)
        self.ports = json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        status = self.process.wait(LIMIT_SECONDS)
        self.process.stdout.close()
        return status

    def request(self, method, path, body=None, headers=None, port="http", seconds=LIMIT_SECONDS):
        """(status, headers, body) on a connection of its own; JSON is parsed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=seconds)
        try:
            return exchange(connection, method, path, body, headers)
        finally:
            connection.close()

    def control(self, method, path, body=None):
        status, _, answer = self.request(method, path, None if body is None else json.dumps(body), port="control")
        assert status < 300, f"{status} {answer}"
        return answer

    def script(self, provider, **rule):
        self.control("POST", f"/scripts/{provider}", rule)

    def messages(self, provider, **filters):
        return self.control("GET", "/messages?" + urllib.parse.urlencode({"provider": provider, **filters}))["messages"]

    def command(self, *arguments):
        url = f"http://127.0.0.1:{self.ports['control']}"
        return subprocess.run([SANDBOX, *arguments], check=False, capture_output=True, text=True, timeout=LIMIT_SECONDS,
                              env={**os.environ, "CARILLON_SANDBOX_URL": url})


def exchange(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    text = response.read()
    is_json = response.getheader("content-type", "").startswith("application/json")
    return response.status, response.headers, json.loads(text) if is_json else text.decode()


def wait_for(condition):
    """What the condition returns once that is true."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)
    return value


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(algorithm, key_file, header, claims):
    """A token signed by openssl, so by other code than what verifies it."""
    signed = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": algorithm, **header}, claims))
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key_file], check=True, input=signed.encode(),
                               capture_output=True, timeout=LIMIT_SECONDS).stdout
    return signed + "." + base64url(raw_signature(signature) if algorithm == "ES256" else signature)


def raw_signature(der):
    """The two numbers of an ECDSA signature side by side, as JOSE wants them."""
    numbers = b""
    rest = der[2:]
    for _ in range(2):
        size = rest[1]
        numbers += rest[2:2 + size].lstrip(b"\0").rjust(32, b"\0")
        rest = rest[2 + size:]
    return numbers


class SandboxCase(unittest.TestCase):
    """One sandbox for a class; every test finds it without rules and messages."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="carillon-sandbox-test."))
        cls.sandbox = Sandbox(cls.directory)

    @classmethod
    def tearDownClass(cls):
        status = cls.sandbox.stop()
        shutil.rmtree(cls.directory)
        assert status == 0, f"SIGTERM ended it with status {status}"

    def setUp(self):
        self.sandbox.control("DELETE", "/scripts")
        self.sandbox.control("DELETE", "/messages")

    def wait_for_count(self, provider, expected):
        """Also what nobody was told of arrives, perhaps a little later."""
        wait_for(lambda: self.counts(provider)[0] >= expected)
        self.assertEqual(self.counts(provider)[0], expected)

    def counts(self, provider):
        counts = self.sandbox.control("GET", f"/messages/count?provider={provider}")[provider]
        return counts["messages"], counts["distinct"], counts["duplicates"]


class ItselfTest(SandboxCase):
    def test_listens_on_loopback_only(self):
        output = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True,
                                timeout=LIMIT_SECONDS).stdout
        addresses = [line.split()[3] for line in output.splitlines() if f"pid={self.sandbox.process.pid}," in line]
        self.assertEqual(sorted(addresses), sorted(f"127.0.0.1:{self.sandbox.ports[name]}"
                                                   for name in ("http", "smtp", "apns", "control")))

    def test_keeps_its_identity_over_a_restart(self):
        with tempfile.TemporaryDirectory() as directory:
            names = ("ca.pem", "apns.p8", "fcm-service-account.json")
            contents = []
            for _ in range(2):
                sandbox = Sandbox(directory)
                contents.append([pathlib.Path(directory, name).read_text() for name in names])
                account = json.loads(contents[-1][2])
                self.assertEqual(account["token_uri"], f"http://127.0.0.1:{sandbox.ports['http']}/token")
                self.assertEqual(sandbox.stop(), 0)
            self.assertEqual(contents[0][:2], contents[1][:2])
            self.assertEqual(*(json.loads(content[2])["private_key"] for content in contents))
            for name in ("apns.p8", "fcm-service-account.json", "tls.key"):
                self.assertEqual(pathlib.Path(directory, name).stat().st_mode & 0o077, 0, name)

    def test_ends_when_a_port_is_taken(self):
        with tempfile.TemporaryDirectory() as directory:
            result = subprocess.run([NODE, SANDBOX, "serve", "--directory", directory, "--control-port",
                                     str(self.sandbox.ports["control"])], check=False, capture_output=True, text=True,
                                    timeout=LIMIT_SECONDS)
        self.assertEqual(result.returncode, 1)
        self.assertIn("EADDRINUSE", result.stderr)

    def test_refuses_rules_that_would_do_nothing(self):
        for provider, rule, why in (
                ("twilio", {"mode": "eror"}, "mode is one of"),
                ("twilio", {"mode": "error", "sttus": 500}, "has no sttus"),
                ("twilio", {"mode": "error", "stage": "rcpt"}, "only smtp"),
                ("twilio", {"mode": "slow"}, "needs delay_ms"),
                ("webhook", {"mode": "callback"}, "is for twilio, vonage"),
                ("pigeons", {"mode": "ok"}, "no provider pigeons")):
            _, _, answer = self.sandbox.request("POST", f"/scripts/{provider}", json.dumps(rule), port="control")
            self.assertIn(why, answer["error"])
        self.assertEqual([rules for rules in self.sandbox.control("GET", "/scripts").values() if rules], [])

    def test_keeps_the_newest_and_goes_on_counting(self):
        with tempfile.TemporaryDirectory() as directory:
            sandbox = Sandbox(directory, "--keep", "10")
            try:
                for number in range(35):
                    sandbox.request("POST", f"/webhook/{number}", "{}", {"webhook-id": f"m{number % 30}"})
                self.assertEqual([message["to"] for message in sandbox.messages("webhook")],
                                 [f"/webhook/{number}" for number in range(25, 35)])
                counts = sandbox.control("GET", "/messages/count")["webhook"]
                self.assertEqual(counts, {"messages": 35, "distinct": 35, "duplicates": 0, "kept": 10})
            finally:
                sandbox.stop()

    def test_the_command_shows_what_arrived_and_sets_rules(self):
        self.sandbox.request("POST", "/webhook/a", '{"type": "order.paid"}')
        self.assertIn("/webhook/a  order.paid", self.sandbox.command("messages").stdout)
        listed = self.sandbox.command("messages", "--provider", "webhook", "--to", "/webhook/a", "--json").stdout
        self.assertEqual(json.loads(listed)[0]["body"], {"type": "order.paid"})
        self.assertEqual(self.sandbox.command("script", "webhook", '{"mode": "error", "status": 410}').returncode, 0)
        self.assertEqual(self.sandbox.request("POST", "/webhook/a", "{}")[0], 410)
        self.assertEqual(self.sandbox.command("reset").returncode, 0)
        self.assertEqual(self.sandbox.request("POST", "/webhook/a", "{}")[0], 200)
        wrong = self.sandbox.command("script", "webhook", '{"mode": "wrong"}')
        self.assertEqual((wrong.returncode, "mode is one of" in wrong.stderr), (1, True))


class SmtpTest(SandboxCase):
    def connect(self, seconds=LIMIT_SECONDS, tls=False):
        client = smtplib.SMTP("127.0.0.1", self.sandbox.ports["smtp"], local_hostname="test", timeout=seconds)
        self.addCleanup(client.close)
        if tls:
            client.starttls(context=ssl.create_default_context(cafile=self.directory / "ca.pem"))
        client.login("sandbox", "sandbox-password")
        return client

    @staticmethod
    def mail(message_id="<m1@carillon.test>", to="ada@example.test"):
        message = email.message.EmailMessage()
        message["From"] = "carillon@example.test"
        message["To"] = to
        message["Subject"] = "Grüße aus dem Turm"
        message["Message-ID"] = message_id
        message.set_content("Die Glocke läutet.")
        message.add_alternative("<p>Die Glocke läutet.</p>", subtype="html")
        return message

    def test_takes_mail_with_and_without_tls(self):
        for tls in (False, True):
            with self.connect(tls=tls) as client:
                client.send_message(self.mail(f"<tls-{tls}@carillon.test>"))
            message = self.sandbox.messages("smtp", id=f"<tls-{tls}@carillon.test>")[0]
            self.assertEqual(message["secure"], tls)
            self.assertEqual(message["envelope"], {"from": "carillon@example.test", "to": ["ada@example.test"]})
            self.assertEqual(message["subject"], "Grüße aus dem Turm")
            self.assertEqual(message["text"].strip(), "Die Glocke läutet.")
            self.assertEqual(message["html"].strip(), "<p>Die Glocke läutet.</p>")
            self.assertEqual(message["headers"]["to"], "ada@example.test")
            self.assertIn("\r\n", message["raw"])
        self.assertEqual(len(self.sandbox.messages("smtp", contains="läutet")), 2)

    def test_wants_the_right_password(self):
        client = smtplib.SMTP("127.0.0.1", self.sandbox.ports["smtp"], local_hostname="test", timeout=LIMIT_SECONDS)
        self.addCleanup(client.close)
        client.ehlo()
        self.assertIn("PLAIN", client.esmtp_features["auth"])
        self.assertIn("LOGIN", client.esmtp_features["auth"])
        self.assertEqual(client.mail("carillon@example.test")[0], 530)
        with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
            client.login("sandbox", "wrong")
        self.assertEqual(caught.exception.smtp_code, 535)
        client.user, client.password = "sandbox", "sandbox-password"
        self.assertEqual(client.auth("LOGIN", client.auth_login)[0], 235)

    def test_a_connection_takes_one_mail_after_another(self):
        with self.connect() as client:
            for number in range(3):
                client.send_message(self.mail(f"<m{number}@carillon.test>"))
        with self.connect() as client:
            client.send_message(self.mail("<m0@carillon.test>"))
        connections = [message["connection"] for message in self.sandbox.messages("smtp")]
        self.assertEqual(len(set(connections[:3])), 1)
        self.assertNotEqual(connections[2], connections[3])
        self.assertEqual(self.counts("smtp"), (4, 3, 1))

    def test_refuses_recipients_by_rule(self):
        self.sandbox.script("smtp", mode="error", code=450, reason="4.2.2 Mailbox full", match="bo@", times=1)
        self.sandbox.script("smtp", mode="error", code=550, match="bo@")
        with self.connect() as client:
            for expected in ((450, b"4.2.2 Mailbox full"), (550, b"5.1.1 No such user")):
                with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
                    client.send_message(self.mail(to="bo@example.test"))
                self.assertEqual(caught.exception.recipients["bo@example.test"], expected)
            refused = client.send_message(self.mail(to="bo@example.test, cy@example.test"))
            self.assertEqual(list(refused), ["bo@example.test"])
        self.assertEqual([message["to"] for message in self.sandbox.messages("smtp")], ["cy@example.test"])

    def test_refuses_the_data_by_rule(self):
        self.sandbox.script("smtp", mode="error", code=554, stage="data", times=1)
        with self.connect() as client:
            with self.assertRaises(smtplib.SMTPDataError) as caught:
                client.send_message(self.mail())
            self.assertEqual(caught.exception.smtp_code, 554)
            self.assertEqual(self.counts("smtp"), (0, 0, 0))
            client.send_message(self.mail())
        self.assertEqual(self.counts("smtp"), (1, 1, 0))

    def test_421_closes_the_connection(self):
        self.sandbox.script("smtp", mode="error", code=421, stage="mail", times=1)
        with self.connect() as client:
            with self.assertRaises(smtplib.SMTPException):
                client.send_message(self.mail())
            with self.assertRaises(smtplib.SMTPServerDisconnected):
                client.noop()

    def test_refuses_to_greet_and_to_log_in_by_rule(self):
        self.sandbox.script("smtp", mode="error", code=421, stage="connect", times=1)
        # Python's client tries both ways to log in.
        self.sandbox.script("smtp", mode="error", code=454, stage="auth", times=2)
        for error, code in ((smtplib.SMTPConnectError, 421), (smtplib.SMTPAuthenticationError, 454)):
            with self.assertRaises(error) as caught:
                self.connect()
            self.assertEqual(caught.exception.smtp_code, code)
        self.connect()

    def test_an_answer_that_never_comes_or_a_connection_that_breaks(self):
        for rule, stored in (({"mode": "hang"}, 0), ({"mode": "hang_after_accept"}, 1),
                             ({"mode": "drop"}, 0), ({"mode": "drop", "after_accept": True}, 1)):
            self.setUp()
            self.sandbox.script("smtp", **rule)
            for tls in (False, True):
                client = self.connect(tls=tls)
                client.sock.settimeout(PATIENCE_SECONDS)
                with self.assertRaises((TimeoutError, smtplib.SMTPServerDisconnected)):
                    client.send_message(self.mail(f"<{tls}@carillon.test>"))
            self.wait_for_count("smtp", 2 * stored)

    def test_a_slow_server_takes_its_time(self):
        self.sandbox.script("smtp", mode="slow", delay_ms=300)
        with self.connect() as client:
            began = time.monotonic()
            client.send_message(self.mail())
            self.assertGreaterEqual(time.monotonic() - began, 0.29)

    def test_refuses_connections_until_it_is_told_otherwise(self):
        client = self.connect()
        for rule in ({}, {"for_seconds": 4}):
            self.sandbox.script("smtp", mode="refuse", **rule)
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.sandbox.ports["smtp"]), LIMIT_SECONDS)
            with self.assertRaises(smtplib.SMTPServerDisconnected):
                client.noop()
            if not rule:
                self.sandbox.control("DELETE", "/scripts/smtp")
            client = wait_for(self.try_to_connect)
            client.send_message(self.mail())

    def try_to_connect(self):
        try:
            return self.connect()
        except ConnectionRefusedError:
            return None


class SendGridTest(SandboxCase):
    KEY = "SG.sandbox"

    def send(self, mail=None, key=KEY, connection=None, seconds=LIMIT_SECONDS):
        mail = {"personalizations": [{"to": [{"email": "ada@example.test"}]}],
                "from": {"email": "carillon@example.test"}, "subject": "Paid",
                "content": [{"type": "text/plain", "value": "42.50 EUR"}], **(mail or {})}
        arguments = ("POST", "/v3/mail/send", json.dumps({name: value for name, value in mail.items() if value}),
                     {"authorization": f"Bearer {key}", "content-type": "application/json"})
        return exchange(connection, *arguments) if connection else self.sandbox.request(*arguments, seconds=seconds)

    def test_takes_a_mail(self):
        status, headers, body = self.send()
        self.assertEqual((status, body), (202, ""))
        message = self.sandbox.messages("sendgrid", to="ada@example.test")[0]
        self.assertEqual(message["id"], headers["x-message-id"])
        self.assertEqual((message["subject"], message["text"]), ("Paid", "42.50 EUR"))
        self.assertEqual(message["headers"]["authorization"], "Bearer SG.sandbox")

    def test_says_what_is_wrong(self):
        status, _, body = self.send(key="SG.other")
        self.assertEqual(status, 401)
        message = "The provided authorization grant is invalid, expired, or revoked"
        self.assertEqual(body["errors"], [{"message": message, "field": None, "help": None}])
        for mail, field in (({"personalizations": None}, "personalizations"), ({"from": None}, "from.email"),
                            ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
                            ({"personalizations": [{"to": [{"email": "ada"}]}]}, "personalizations.0.to.0.email"),
                            ({"personalizations": [{"to": "ada"}]}, "personalizations.0.to"),
                            ({"personalizations": [{"to": [{"email": "a@b.test"}], "cc": 1}]}, "personalizations.0.cc"),
                            ({"subject": None}, "subject"), ({"content": None}, "content"),
                            ({"headers": {"Subject": "x"}}, "headers"), ({"subjet": "x"}, "subjet")):
            status, _, body = self.send(mail)
            self.assertEqual((status, [error["field"] for error in body["errors"]]), (400, [field]), mail)
        self.assertEqual(self.counts("sendgrid"), (0, 0, 0))

    def test_tells_repeats_by_the_custom_arguments(self):
        for number in (1, 2, 1):
            self.send({"custom_args": {"notification_id": f"n{number}"}})
        self.assertEqual(self.counts("sendgrid"), (3, 2, 1))

    def test_fails_as_often_as_it_is_told(self):
        self.sandbox.script("sendgrid", mode="error", status=500, times=2)
        self.sandbox.script("sendgrid", mode="error", status=429, retry_after=2, times=1)
        self.assertEqual([self.send()[0] for _ in range(2)], [500, 500])
        status, headers, body = self.send()
        self.assertEqual((status, headers["retry-after"]), (429, "2"))
        self.assertEqual(body["errors"][0]["message"], "too many requests")
        self.assertEqual(self.send()[0], 202)
        rules = self.sandbox.control("GET", "/scripts")["sendgrid"]
        self.assertEqual([(rule["used"], rule["active"]) for rule in rules], [(2, False), (1, False)])

    def test_fails_as_long_as_it_is_told(self):
        self.sandbox.script("sendgrid", mode="error", status=503, for_seconds=4)
        self.assertEqual(self.send()[0], 503)
        wait_for(lambda: self.send()[0] == 202)

    def test_answers_with_what_it_is_told(self):
        self.sandbox.script("sendgrid", mode="error", status=502, body="<html>bad gateway</html>")
        self.assertEqual(self.send()[::2], (502, "<html>bad gateway</html>"))

    def test_rules_are_tried_in_order(self):
        self.sandbox.script("sendgrid", mode="ok", match="ada@")
        self.sandbox.script("sendgrid", mode="error", status=500)
        self.assertEqual(self.send()[0], 202)
        self.assertEqual(self.send({"personalizations": [{"to": [{"email": "bo@example.test"}]}]})[0], 500)

    def test_an_answer_that_never_comes(self):
        for mode, stored in (("hang", 0), ("hang_after_accept", 1)):
            self.setUp()
            self.sandbox.script("sendgrid", mode=mode)
            with self.assertRaises(TimeoutError):
                self.send(seconds=PATIENCE_SECONDS)
            self.wait_for_count("sendgrid", stored)

    def test_a_connection_that_breaks(self):
        for rule, stored in (({"mode": "drop"}, 0), ({"mode": "drop", "after_accept": True}, 1),
                             ({"mode": "refuse"}, 0)):
            self.setUp()
            self.sandbox.script("sendgrid", **rule)
            with self.assertRaises(ConnectionError):
                self.send()
            self.wait_for_count("sendgrid", stored)

    def test_a_slow_answer(self):
        self.sandbox.script("sendgrid", mode="slow", delay_ms=300)
        began = time.monotonic()
        self.assertEqual(self.send()[0], 202)
        self.assertGreaterEqual(time.monotonic() - began, 0.29)

    def test_a_connection_takes_one_request_after_another(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.sandbox.ports["http"], timeout=LIMIT_SECONDS)
        self.addCleanup(connection.close)
        self.assertEqual([self.send(connection=connection)[0] for _ in range(3)], [202, 202, 202])
        self.assertEqual(len({message["connection"] for message in self.sandbox.messages("sendgrid")}), 1)


class TwilioTest(SandboxCase):
    TO = "+4915112345678"

    def send(self, credentials="ACsandbox:sandbox-token", path=MESSAGES, **form):
        form = {"To": self.TO, "From": "+15005550006", "Body": "Your code is 4711", **form}
        given = {key: value for key, value in form.items() if value}
        return self.sandbox.request("POST", path, urllib.parse.urlencode(given), self.headers(credentials))

    @staticmethod
    def headers(credentials="ACsandbox:sandbox-token"):
        return {"content-type": FORM, "authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}

    def list(self, **query):
        path = f"{MESSAGES}?{urllib.parse.urlencode(query)}"
        status, _, page = self.sandbox.request("GET", path, None, self.headers())
        self.assertEqual(status, 200)
        return page

    def callback_url(self, name):
        return f"http://127.0.0.1:{self.sandbox.ports['http']}/webhook/{name}"

    def callbacks(self, name, count):
        """The callbacks once there are so many."""
        to = f"/webhook/{name}"
        return wait_for(lambda: len(found := self.sandbox.messages("webhook", to=to)) >= count and found)

    def test_queues_a_message(self):
        status, _, body = self.send()
        self.assertEqual(status, 201)
        self.assertRegex(body["sid"], r"^SM[0-9a-f]{32}$")
        self.assertEqual((body["status"], body["num_segments"], body["error_code"]), ("queued", "1", None))
        self.assertEqual(self.sandbox.messages("twilio")[0]["text"], "Your code is 4711")

    def test_counts_segments(self):
        for text, segments in (("a" * 160, "1"), ("a" * 161, "2"), ("€" * 80, "1"), ("€" * 81, "2"), ("ж" * 70, "1"),
                               ("ж" * 71, "2"), ("🔔" * 35, "1"), ("🔔" * 36, "2")):
            self.assertEqual(self.send(Body=text)[2]["num_segments"], segments, text)

    def test_says_what_is_wrong(self):
        for form, code in (({"To": "12345"}, 21211), ({"To": ""}, 21604), ({"From": ""}, 21603), ({"Body": ""}, 21602),
                           ({"Body": "a" * 1601}, 21617), ({"StatusCallback": "nowhere"}, 21609)):
            status, _, body = self.send(**form)
            self.assertEqual((status, body["code"], body["status"]), (400, code, 400), form)
            self.assertEqual(body["more_info"], f"https://www.twilio.com/docs/errors/{code}")
        self.assertEqual(self.send("ACsandbox:wrong")[2]["code"], 20003)
        status, _, body = self.send(path="/2010-04-01/Accounts/ACother/Messages.json")
        self.assertEqual((status, body["code"]), (404, 20404))

    def test_tells_what_becomes_of_it(self):
        url = self.callback_url("twilio")
        sid = self.send(StatusCallback=url)[2]["sid"]
        callbacks = self.callbacks("twilio", 2)
        forms = [dict(urllib.parse.parse_qsl(callback["raw"])) for callback in callbacks]
        self.assertEqual([form["MessageStatus"] for form in forms], ["sent", "delivered"])
        for callback, form in zip(callbacks, forms):
            self.assertEqual((form["MessageSid"], form["To"]), (sid, self.TO))
            signed = url + "".join(name + form[name] for name in sorted(form))
            expected = base64.b64encode(hmac.new(b"sandbox-token", signed.encode(), hashlib.sha1).digest()).decode()
            self.assertEqual(callback["headers"]["x-twilio-signature"], expected)
        self.assertEqual(self.list(To=self.TO)["messages"][0]["status"], "delivered")

    def test_tells_what_the_script_says(self):
        self.sandbox.script("twilio", mode="callback", status="off", match="0001")
        self.sandbox.script("twilio", mode="callback", status="undelivered", error_code=30003, delay_ms=1)
        self.send(To="+491511230001", StatusCallback=self.callback_url("off"))
        self.send(StatusCallback=self.callback_url("undelivered"))
        forms = [dict(urllib.parse.parse_qsl(callback["raw"])) for callback in self.callbacks("undelivered", 2)]
        self.assertEqual([(form["MessageStatus"], form.get("ErrorCode")) for form in forms],
                         [("sent", None), ("undelivered", "30003")])
        wait_for(lambda: self.list(To="+491511230001")["messages"][0]["status"] == "delivered")
        self.assertEqual(self.sandbox.messages("webhook", to="/webhook/off"), [])

    def test_lists_the_newest_first(self):
        for number in range(5):
            self.send(Body=f"text {number}")
        self.send(To="+4915100000000")
        page = self.list(To=self.TO, PageSize=2)
        self.assertEqual([message["body"] for message in page["messages"]], ["text 4", "text 3"])
        bodies = []
        while page["next_page_uri"]:
            _, _, page = self.sandbox.request("GET", page["next_page_uri"], None, self.headers())
            bodies += [message["body"] for message in page["messages"]]
        self.assertEqual(bodies, ["text 2", "text 1", "text 0"])
        self.assertEqual(self.list(To=self.TO, **{"DateSent>": "2999-01-01"})["messages"], [])

    def test_fails_in_its_own_words(self):
        self.sandbox.script("twilio", mode="error", code=21610, times=1)
        self.sandbox.script("twilio", mode="error", status=429, retry_after=1, times=1)
        self.sandbox.script("twilio", mode="error", status=503, times=1)
        answers = [self.send() for _ in range(3)]
        self.assertEqual([(status, body["code"]) for status, _, body in answers],
                         [(400, 21610), (429, 20429), (503, 20503)])
        self.assertEqual(answers[1][1]["retry-after"], "1")

    def test_a_message_without_an_answer_is_in_the_list(self):
        self.sandbox.script("twilio", mode="drop", after_accept=True)
        with self.assertRaises(ConnectionError):
            self.send(Body="ambiguous")
        self.assertEqual([message["body"] for message in self.list(To=self.TO)["messages"]], ["ambiguous"])
        self.sandbox.script("twilio_list", mode="error", status=503, times=1)
        self.assertEqual(self.sandbox.request("GET", MESSAGES, None, self.headers())[0], 503)


class VonageTest(SandboxCase):
    def send(self, as_json=False, **fields):
        fields = {"api_key": "sandbox", "api_secret": "sandbox-secret", "to": "4915112345678", "from": "Carillon",
                  "text": "Your code is 4711", **fields}
        body = json.dumps(fields) if as_json else urllib.parse.urlencode(fields)
        status, _, answer = self.sandbox.request("POST", "/sms/json", body,
                                                 {"content-type": "application/json" if as_json else FORM})
        self.assertEqual(status, 200)
        return answer["messages"]

    def test_takes_forms_and_json(self):
        for as_json in (False, True):
            part, = self.send(as_json, **{"client-ref": "n1"})
            self.assertEqual((part["status"], part["to"], part["client-ref"]), ("0", "4915112345678", "n1"))
        messages = self.sandbox.messages("vonage")
        self.assertEqual([message["text"] for message in messages], ["Your code is 4711"] * 2)
        self.assertEqual(self.counts("vonage"), (2, 1, 1))

    def test_says_what_is_wrong_with_status_200(self):
        for fields, status in (({"api_secret": "wrong"}, "4"), ({"text": ""}, "2"), ({"to": "+4915112345678"}, "3"),
                               ({"to": "ada"}, "3"), ({"text": "a" * 3201}, "12")):
            error, = self.send(**fields)
            self.assertEqual(error["status"], status, fields)
            self.assertTrue(error["error-text"])

    def test_splits_long_texts_and_cannot_show_others_without_unicode(self):
        self.assertEqual(len(self.send(text="a" * 161)), 2)
        self.send(text="ж")
        self.send(text="ж", type="unicode")
        self.assertEqual([message["text"] for message in self.sandbox.messages("vonage")][1:], ["?", "ж"])

    def test_sends_receipts(self):
        callback = f"http://127.0.0.1:{self.sandbox.ports['http']}/webhook/vonage"
        self.sandbox.script("vonage", mode="callback", status="rejected", error_code=6, match="0002")
        sent = [self.send(callback=callback, to=to, **{"client-ref": to})[0] for to in ("491511230001", "491511230002")]
        receipts = wait_for(lambda: len(found := self.sandbox.messages("webhook")) == 2 and found)
        told = {receipt["body"]["messageId"]: receipt["body"] for receipt in receipts}
        self.assertEqual([(told[part["message-id"]]["status"], told[part["message-id"]]["err-code"]) for part in sent],
                         [("delivered", "0"), ("rejected", "6")])
        first = told[sent[0]["message-id"]]
        self.assertEqual((first["msisdn"], first["to"], first["client-ref"]),
                         ("491511230001", "Carillon", "491511230001"))

    def test_fails_in_its_own_words(self):
        self.sandbox.script("vonage", mode="error", code="1", times=1)
        self.sandbox.script("vonage", mode="error", times=1)
        self.assertEqual([self.send()[0]["status"] for _ in range(3)], ["1", "5", "0"])


class FcmTest(SandboxCase):
    def account(self):
        return json.loads((self.directory / "fcm-service-account.json").read_text())

    def token(self, **claims):
        account = self.account()
        key = self.directory / "account.key"
        key.write_text(account["private_key"])
        now = int(time.time())
        claims = {"iss": account["client_email"], "aud": account["token_uri"], "iat": now, "exp": now + 3600,
                  "scope": "https://www.googleapis.com/auth/firebase.messaging", **claims}
        assertion = jwt("RS256", key, {"typ": "JWT"}, claims)
        return self.grant(assertion)

    def grant(self, assertion, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer"):
        form = urllib.parse.urlencode({"grant_type": grant_type, "assertion": assertion})
        status, _, body = self.sandbox.request("POST", "/token", form, {"content-type": FORM})
        return status, body

    def send(self, message=None, token=None):
        body = json.dumps({"message": {"token": "device-1", "notification": {"title": "Bells", "body": "at dawn"},
                                       **(message or {})}})
        status, _, answer = self.sandbox.request("POST", FCM, body, {
            "content-type": "application/json", "authorization": f"Bearer {token or self.token()[1]['access_token']}"})
        return status, answer

    def test_takes_a_message_with_an_access_token(self):
        status, body = self.token()
        self.assertEqual((status, body["expires_in"], body["token_type"]), (200, 3600, "Bearer"))
        status, answer = self.send(token=body["access_token"])
        self.assertEqual(status, 200)
        self.assertRegex(answer["name"], r"^projects/sandbox/messages/\w+$")
        message = self.sandbox.messages("fcm", to="device-1")[0]
        self.assertEqual((message["id"], message["subject"], message["text"]), (answer["name"], "Bells", "at dawn"))
        self.assertEqual(self.counts("fcm_token"), (1, 1, 0))

    def test_gives_no_token_for_a_wrong_assertion(self):
        now = int(time.time())
        for claims, error in (({"iss": "other"}, "invalid_grant"), ({"aud": "https://elsewhere"}, "invalid_grant"),
                              ({"iat": now - 7200, "exp": now - 3600}, "invalid_grant"),
                              ({"exp": now + 7200}, "invalid_grant"), ({"scope": "openid"}, "invalid_scope")):
            status, body = self.token(**claims)
            self.assertEqual((status, body["error"]), (400, error), claims)
        status, body = self.grant("a.b.c")
        self.assertEqual((status, body),
                         (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}))
        self.assertEqual(self.grant("a.b.c", "password")[1]["error"], "unsupported_grant_type")

    def test_says_what_is_wrong(self):
        status, body = self.send(token="ya29.nonsense")
        self.assertEqual((status, body["error"]["status"]), (401, "UNAUTHENTICATED"))
        for message, kind in (({"data": {"count": 1}}, "BadRequest"), ({"nonsense": 1}, "BadRequest"),
                              ({"topic": "news"}, "FcmError"), ({"token": "not a token"}, "FcmError"),
                              ({"data": {"text": "a" * 4096}}, "FcmError")):
            status, body = self.send(message)
            self.assertEqual((status, body["error"]["code"], body["error"]["status"]), (400, 400, "INVALID_ARGUMENT"),
                             message)
            self.assertIn(kind, body["error"]["details"][0]["@type"], message)

    def test_fails_in_its_own_words(self):
        token = self.token()[1]["access_token"]
        for rule, expected in (({"code": "UNREGISTERED"}, (404, "NOT_FOUND", "UNREGISTERED")),
                               ({"status": 429, "retry_after": 7}, (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")),
                               ({"status": 503}, (503, "UNAVAILABLE", "UNAVAILABLE"))):
            self.sandbox.script("fcm", mode="error", match="device-1", times=1, **rule)
            status, body = self.send(token=token)
            detail = next(entry for entry in body["error"]["details"] if entry["@type"].endswith("fcm.v1.FcmError"))
            self.assertEqual((status, body["error"]["status"], detail["errorCode"]), expected)
        self.sandbox.script("fcm_token", mode="error", status=503)
        self.assertEqual(self.token()[0], 503)

    def test_an_access_token_outlives_a_restart(self):
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy(self.directory / "fcm-service-account.json", directory)
            token = self.token()[1]["access_token"]
            other = Sandbox(directory)
            try:
                status, _, _ = other.request("POST", FCM, json.dumps({"message": {"token": "device-1"}}), {
                    "content-type": "application/json", "authorization": f"Bearer {token}"})
            finally:
                other.stop()
        self.assertEqual(status, 200)


class ApnsTest(SandboxCase):
    def token(self, key=None, kid="SANDBOXKID", team="SANDBOXTID", age=0):
        claims = {"iss": team, "iat": int(time.time()) - age}
        return jwt("ES256", key or self.directory / "apns.p8", {"kid": kid}, claims)

    def curl(self, *arguments):
        return subprocess.run(["curl", "-sS", "--cacert", self.directory / "ca.pem", "--max-time", str(LIMIT_SECONDS),
                               *arguments], check=False, capture_output=True, timeout=2 * LIMIT_SECONDS)

    def send(self, token=None, device=DEVICE, payload=None, times=1, arguments=(), **headers):
        """(status, apns-id, body) of the last of so many pushes on one connection."""
        headers = {"authorization": f"bearer {token or self.token()}", "apns-topic": "test.carillon.app",
                   **{name.replace("_", "-"): value for name, value in headers.items()}}
        given = [part for name, value in headers.items() if value is not None for part in ("-H", f"{name}: {value}")]
        payload = json.dumps({"aps": {"alert": {"title": "Bells", "body": "at dawn"}}}) if payload is None else payload
        result = self.curl("--http2", "-D", "-", *given, "-d", payload, *arguments,
                           *[f"https://127.0.0.1:{self.sandbox.ports['apns']}/3/device/{device}"] * times)
        if result.returncode != 0:
            raise ConnectionError(result.stderr.decode())
        head, _, body = result.stdout.decode().rpartition("\r\n\r\n")
        lines = head.rpartition("HTTP/2 ")[2].splitlines()
        identifier = next((line.partition(": ")[2] for line in lines if line.startswith("apns-id: ")), None)
        return int(lines[0]), identifier, json.loads(body) if body else None

    def test_takes_a_push(self):
        mine = "123e4567-e89b-12d3-a456-4266554400a0"
        status, identifier, body = self.send(apns_id=mine, apns_push_type="alert", apns_priority="10",
                                             apns_collapse_id="n1")
        self.assertEqual((status, identifier, body), (200, mine, None))
        status, identifier, _ = self.send()
        self.assertRegex(identifier, r"^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$")
        messages = self.sandbox.messages("apns", to=DEVICE)
        self.assertEqual([message["id"] for message in messages], [mine, identifier])
        self.assertEqual((messages[0]["subject"], messages[0]["text"], messages[0]["topic"]),
                         ("Bells", "at dawn", "test.carillon.app"))
        self.assertEqual(messages[0]["headers"]["apns-collapse-id"], "n1")

    def test_a_connection_takes_one_push_after_another(self):
        self.send(times=3)
        self.send()
        connections = [message["connection"] for message in self.sandbox.messages("apns")]
        self.assertEqual((len(connections), len(set(connections[:3])), len(set(connections))), (4, 1, 2))

    def test_speaks_nothing_but_http_2(self):
        url = f"https://127.0.0.1:{self.sandbox.ports['apns']}/3/device/{DEVICE}"
        result = self.curl("--http1.1", "-d", "{}", url)
        self.assertNotEqual(result.returncode, 0, result.stdout)

    def test_wants_a_good_provider_token(self):
        other = self.directory / "other.p8"
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other],
                       check=True, capture_output=True, timeout=LIMIT_SECONDS)
        for token, reason in ((self.token(other), "InvalidProviderToken"),
                              (self.token(kid="OTHERKEYID"), "InvalidProviderToken"),
                              (self.token(team="OTHERTEAM1"), "InvalidProviderToken"),
                              (self.token(age=-900), "InvalidProviderToken"), ("x.y.z", "InvalidProviderToken"),
                              (self.token(age=3700), "ExpiredProviderToken")):
            status, _, body = self.send(token)
            self.assertEqual((status, body), (403, {"reason": reason}), token)
        self.assertEqual(self.send(authorization=None)[2], {"reason": "MissingProviderToken"})

    def test_may_limit_the_number_of_provider_tokens(self):
        tokens = [self.token(age=age) for age in range(3)]
        # Other tests' tokens count too: from here on none is added.
        self.send(tokens[0])
        self.sandbox.script("apns", mode="token_limit", limit=0)
        self.assertEqual(self.send(tokens[0])[0], 200)
        status, _, body = self.send(tokens[1])
        self.assertEqual((status, body), (429, {"reason": "TooManyProviderTokenUpdates"}))
        self.sandbox.control("DELETE", "/scripts/apns")
        self.assertEqual(self.send(tokens[1])[0], 200)

    def test_says_what_is_wrong(self):
        for arguments, expected in (
                ({"device": "abc"}, (400, "BadDeviceToken")), ({"device": ""}, (400, "MissingDeviceToken")),
                ({"apns_topic": None}, (400, "MissingTopic")), ({"payload": ""}, (400, "PayloadEmpty")),
                ({"payload": json.dumps({"aps": {"alert": "a" * 4096}})}, (413, "PayloadTooLarge")),
                ({"apns_collapse_id": "a" * 65}, (400, "BadCollapseId")),
                ({"apns_priority": "7"}, (400, "BadPriority")), ({"apns_id": "n1"}, (400, "BadMessageId")),
                ({"apns_expiration": "soon"}, (400, "BadExpirationDate")),
                ({"apns_push_type": "shout"}, (400, "InvalidPushType")),
                ({"arguments": ("-X", "PUT")}, (405, "MethodNotAllowed"))):
            status, identifier, body = self.send(**arguments)
            self.assertEqual((status, body), (expected[0], {"reason": expected[1]}), arguments)
            self.assertTrue(identifier)

    def test_fails_in_its_own_words(self):
        for rule, expected in (({"reason": "Unregistered", "timestamp": 1700000000000},
                                (410, {"reason": "Unregistered", "timestamp": 1700000000000})),
                               ({"status": 429}, (429, {"reason": "TooManyRequests"})),
                               ({"status": 503, "reason": "Shutdown"}, (503, {"reason": "Shutdown"}))):
            self.sandbox.script("apns", mode="error", match=DEVICE[:10], times=1, **rule)
            status, _, body = self.send()
            self.assertEqual((status, body), expected)
        self.assertEqual(self.counts("apns")[0], 0)

    def test_breaks_connections_and_refuses_them(self):
        self.sandbox.script("apns", mode="drop", after_accept=True, times=1)
        with self.assertRaises(ConnectionError):
            self.send()
        self.assertEqual(self.counts("apns")[0], 1)
        self.sandbox.script("apns", mode="refuse")
        with self.assertRaises(ConnectionError):
            self.send()
        self.sandbox.control("DELETE", "/scripts")
        self.assertEqual(self.send()[0], 200)
        self.sandbox.script("apns", mode="hang")
        with self.assertRaises(ConnectionError):
            self.send(arguments=("--max-time", str(PATIENCE_SECONDS)))


class WebhookTest(SandboxCase):
    def test_keeps_headers_and_body(self):
        status, _, _ = self.sandbox.request("POST", "/webhook/a/b", '{"type": "order.paid"}',
                                            {"webhook-id": "n1", "X-Test": "1"})
        self.assertEqual(status, 200)
        message, = self.sandbox.messages("webhook", to="/webhook/a/b")
        self.assertEqual((message["id"], message["headers"]["x-test"], message["raw"]),
                         ("n1", "1", '{"type": "order.paid"}'))
        self.assertEqual(self.sandbox.request("GET", "/webhook/a")[0], 405)

    def test_fails_by_rule(self):
        self.sandbox.script("webhook", mode="error", status=429, retry_after=3, match="/a")
        status, headers, _ = self.sandbox.request("POST", "/webhook/a", "{}")
        self.assertEqual((status, headers["retry-after"]), (429, "3"))
        self.assertEqual(self.sandbox.request("POST", "/webhook/b", "{}")[0], 200)

    def test_verifies_signatures_if_it_has_the_secret(self):
        with tempfile.TemporaryDirectory() as directory:
            sandbox = Sandbox(directory, "--webhook-secret", WEBHOOK_SECRET)
            try:
                for change, status in (({}, 200), ({"body": '{"a": 2}'}, 401), ({"age": 600}, 401),
                                       ({"secret": b"other"}, 401)):
                    self.assertEqual(self.deliver(sandbox, **change), status, change)
                self.assertEqual(sandbox.request("POST", "/webhook/a", "{}")[0], 401)
            finally:
                sandbox.stop()

    @staticmethod
    def deliver(sandbox, body='{"a": 1}', age=0, secret=base64.b64decode(WEBHOOK_SECRET[len("whsec_"):])):
        timestamp = int(time.time()) - age
        signed = f'n1.{timestamp}.{{"a": 1}}'
        signature = base64.b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).decode()
        return sandbox.request("POST", "/webhook/a", body, {
            "webhook-id": "n1", "webhook-timestamp": str(timestamp),
            "webhook-signature": f"v1,{'A' * 43}= v1,{signature}"})[0]


if __name__ == "__main__":
    unittest.main()
