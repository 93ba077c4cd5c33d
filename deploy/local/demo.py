#!/usr/bin/python3
"""Shows a running Carillon: one person's live stream while notifications of
every weight are sent, and then her mail, her text messages and her phone, with a
provider that is down. Finds the system in the CARILLON_* variables; ends by itself,
with status 1 if something did not arrive."""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
CONTROL = REPOSITORY / "build" / "bin" / "carillonctl"
SANDBOX = REPOSITORY / "deploy" / "sandbox" / "carillon-sandbox"
ARRIVAL_SECONDS = 20
COMMAND_SECONDS = 30
LOOK_SECONDS = 0.1
USER = "ada"

NOTIFICATIONS = (
    ("payment", "payment.receipt", ["--object", "order-1042"], {"amount": "42.50", "currency": "EUR"}),
    ("otp", "otp.login", [], {"code": "481 920"}),
    ("social", "like", ["--actor", "bo", "--object", "post-7"], {"actor_name": "Bo", "excerpt": "Bells at dawn"}),
    ("social", "chat.message", ["--actor", "cleo", "--object", "chat-3"],
     {"actor_name": "Cleo", "text": "Did you hear that?"}),
    ("marketing", "marketing.discount", [],
     {"title": "20 % off all bells", "text": "Until Sunday", "link": "/offers/bells"}),
)

UNFINISHED = ("STATE_ACCEPTED", "STATE_QUEUED", "STATE_HELD")
# Messages outside, at least.
OUTSIDE = 3

COLOURS = {"payment": "32", "otp": "33", "social": "36", "marketing": "35"}


def paint(text, colour):
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def heading(text):
    print("\n" + paint(text, "1"), flush=True)


def show_command(arguments, program=CONTROL):
    print(paint(f"  $ {program.name} " + shlex.join(arguments), "2"), flush=True)


def run(arguments, program=CONTROL):
    """Runs a program to its end and returns what it prints."""
    result = subprocess.run([program, *arguments], check=False, capture_output=True, text=True,
                            timeout=COMMAND_SECONDS)
    if result.returncode != 0:
        sys.exit(f"{program.name} {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout


class LiveStream:
    """carillonctl watch in the background; remembers every item and when it came."""

    def __init__(self, user):
        self._arrived = threading.Condition()
        self._items = {}
        # From 0, so that nothing is missed however fast the first send is.
        self._process = subprocess.Popen([CONTROL, "watch", "--user", user, "--after", "0", "--json"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, notification_id):
        """(item, when it came), or None if it does not come in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: notification_id in self._items, ARRIVAL_SECONDS)
            return self._items.get(notification_id)

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read(self):
        for line in self._process.stdout:
            event = json.loads(line)
            item = event.get("item")
            if item is None:
                continue
            with self._arrived:
                self._items[item["notification_id"]] = (item, time.monotonic())
                self._arrived.notify_all()


def send(stream, lane, kind, arguments, data):
    """Sends one and shows it arrive. Returns its id, or None if it did not."""
    command = ["send", "--type", kind, "--user", USER, *arguments, "--data", json.dumps(data)]
    show_command(command)
    began = time.monotonic()
    notification_id = notification_of(run([*command, "--json"]))["notification_id"]
    arrival = stream.wait_for(notification_id)
    if arrival is None:
        print(paint(f"    did not arrive within {ARRIVAL_SECONDS} s", "31"), flush=True)
        return None
    item, when = arrival
    text = " - ".join(part for part in (item.get("title"), item.get("body")) if part)
    print(f"    {paint(f'{lane:<9}', COLOURS[lane])} seq {item['seq']:>2}  {paint(text, '1')}"
          f"  {paint(f'live {(when - began) * 1000:.0f} ms after the command began', '2')}", flush=True)
    return notification_id


def notification_of(answer):
    return json.loads(answer)["notification"]


def send_outside(kind, channels, arguments, data):
    """Sends one to external channels, waits for what becomes of it and shows it. Returns how many of its
    deliveries a provider has accepted."""
    command = ["send", "--type", kind, "--user", USER, "--channels", channels, *arguments, "--data", json.dumps(data)]
    show_command(command)
    notification = notification_of(run([*command, "--json"]))
    get = ["get", notification["notification_id"]]
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while notification["state"] in UNFINISHED and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        notification = notification_of(run([*get, "--json"]))
    show(get)
    return sum(delivery["state"] in ("DELIVERY_STATE_SENT", "DELIVERY_STATE_DELIVERED")
               for delivery in notification["deliveries"])


def show(arguments, program=CONTROL):
    show_command(arguments, program)
    print("".join(f"    {line}\n" for line in run(arguments, program).splitlines()), flush=True)


def show_live():
    """Returns how many of the notifications arrived on the live stream."""
    heading(f"{USER}'s live stream is open; now notifications of every weight are sent")
    stream = LiveStream(USER)
    try:
        sent = [send(stream, *notification) for notification in NOTIFICATIONS]
    finally:
        stream.close()
    heading(f"{USER}'s feed")
    show(["feed", "--user", USER])
    heading("One notification and its timeline")
    show(["get", next((notification_id for notification_id in sent if notification_id), "")])
    return sum(notification_id is not None for notification_id in sent)


def show_channels():
    """Returns how many deliveries a provider has accepted."""
    heading(f"How {USER} is reached outside: by mail, by SMS, on her phone")
    show(["recipients", "set", USER, "--email", "ada@example.test", "--phone", "+4915112345678", "--locale", "es"])
    show(["devices", "add", USER, "--fcm", "token-of-adas-phone"])
    show(["providers", "list"])
    heading("A receipt goes to her mail and her phone")
    sent = send_outside("payment.receipt", "in_app,email,fcm", ["--object", "order-1043"],
                        {"amount": "8.90", "currency": "EUR", "items": [{"name": "Small bell", "price": "8.90"}]})
    heading("A login code, while the first SMS provider is down: the next one has it")
    run(["script", "twilio", '{"mode": "error", "status": 503}'], SANDBOX)
    sent += send_outside("otp.login", "sms", [], {"code": "730 115"})
    run(["reset", "twilio"], SANDBOX)
    heading("What arrived at the providers, played by the sandbox")
    show(["messages", "--to", "ada@example.test"], SANDBOX)
    show(["messages", "--to", "4915112345678"], SANDBOX)
    show(["messages", "--to", "token-of-adas-phone"], SANDBOX)
    return sent


def main():
    arrived = show_live()
    sent = show_channels()
    heading("The queues")
    show(["queues"])
    complete = arrived == len(NOTIFICATIONS) and sent >= OUTSIDE
    print(paint(f"{arrived} of {len(NOTIFICATIONS)} notifications arrived on the live stream, {sent} messages at the "
                "providers.", "1;32" if complete else "1;31"))
    print("To keep a system running: ./dev up, then:  . .run/env; build/bin/carillonctl --help")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
