#!/usr/bin/python3
"""A client in another language, generated from protos/ when it runs.

Sends notifications of every weight to a new recipient, follows them on a live
stream, reads them back, marks them as read and looks at an error. Reads
CARILLON_ADDRESS, CARILLON_APP_KEY and CARILLON_APP_SECRET. Status 0: all as
promised; 1: something was not, and standard error says what.
"""

import importlib
import os
import pathlib
import sys
import tempfile
import time
import uuid

import grpc
from google.protobuf import struct_pb2
from grpc_tools import protoc

PROTOS = pathlib.Path(__file__).resolve().parent.parent.parent / "protos"
DEADLINE_SECONDS = 30
SENDS = (
    ("payment.receipt", {"amount": "12.50", "currency": "EUR"}),
    ("otp.login", {"code": "493817"}),
    ("like", {"actor_name": "Bob"}),
    ("marketing.discount", {"title": "20 % off", "text": "Today only"}),
)


class Failure(Exception):
    """A promise that was not kept."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def generate(directory):
    """Makes Python modules of the public protos in this directory and puts it on the path."""
    files = [path.relative_to(PROTOS).as_posix() for folder in ("carillon/v1", "google/rpc")
             for path in sorted((PROTOS / folder).glob("*.proto"))]
    arguments = ["protoc", f"-I{PROTOS}", f"--python_out={directory}", f"--grpc_python_out={directory}", *files]
    check(protoc.main(arguments) == 0, "the protos can't be compiled")
    sys.path.insert(0, directory)


class Carillon:
    """The stubs and messages of the generated modules, with the credentials of the app."""

    def __init__(self, address, app_key, app_secret):
        self.feed = importlib.import_module("carillon.v1.feed_service_pb2")
        self.notifications = importlib.import_module("carillon.v1.notification_service_pb2")
        self.notification = importlib.import_module("carillon.v1.notification_pb2")
        feed_grpc = importlib.import_module("carillon.v1.feed_service_pb2_grpc")
        notifications_grpc = importlib.import_module("carillon.v1.notification_service_pb2_grpc")
        self.metadata = (("x-app-key", app_key), ("x-app-secret", app_secret))
        self.channel = grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),))
        self.feed_stub = feed_grpc.FeedServiceStub(self.channel)
        self.notifications_stub = notifications_grpc.NotificationServiceStub(self.channel)

    def call(self, method, request):
        return method(request, timeout=DEADLINE_SECONDS, metadata=self.metadata)

    def send(self, user, kind, data, key):
        fields = struct_pb2.Struct()
        fields.update(data)
        request = self.notifications.SendNotificationRequest(
            type=kind, user_id=user, actor_id="bob", object_id="object-1", data=fields, idempotency_key=key)
        return self.call(self.notifications_stub.SendNotification, request)


def sends_are_accepted_once(carillon, user):
    """Returns the ids, by type."""
    accepted = {}
    for kind, data in SENDS:
        first = carillon.send(user, kind, data, f"{user}-{kind}")
        again = carillon.send(user, kind, data, f"{user}-{kind}")
        check(not first.duplicate and again.duplicate, f"{kind}: the repeat was not told from the first send")
        check(first.notification.notification_id == again.notification.notification_id, f"{kind}: two ids for one key")
        accepted[first.notification.notification_id] = kind
    return accepted


def stream_tells_each_once(carillon, user, accepted):
    """The live stream brings every accepted notification, once, in the order of seq from 1."""
    request = carillon.feed.SubscribeRequest(user_id=user, after_seq=0)
    stream = carillon.feed_stub.Subscribe(request, timeout=DEADLINE_SECONDS, metadata=carillon.metadata)
    items = []
    try:
        for event in stream:
            if event.WhichOneof("event") == "item":
                items.append(event.item)
            if len(items) == len(accepted):
                break
    except grpc.RpcError as error:
        raise Failure(f"the stream ended after {len(items)} of {len(accepted)} items: {error.details()}") from error
    finally:
        stream.cancel()
    check([item.seq for item in items] == list(range(1, len(accepted) + 1)), "the numbers are not 1, 2, 3, ...")
    check({item.notification_id: item.type for item in items} == accepted, "the stream brought something else")
    like = next(item for item in items if item.type == "like")
    check(like.actor.actor_id == "bob" and "Bob" in like.title, f"the like is not filled in: {like}")


def state_and_feed_agree(carillon, user, accepted):
    for notification_id, kind in accepted.items():
        request = carillon.notifications.GetNotificationRequest(notification_id=notification_id)
        state = carillon.call(carillon.notifications_stub.GetNotification, request).notification.state
        check(state == carillon.notification.STATE_DELIVERED, f"{kind} is in the feed and in state {state}")
    listed = carillon.call(carillon.feed_stub.ListFeed, carillon.feed.ListFeedRequest(user_id=user)).items
    check([item.seq for item in listed] == list(range(len(accepted), 0, -1)), "the feed is not newest first")
    summary = carillon.call(carillon.feed_stub.GetFeedSummary, carillon.feed.GetFeedSummaryRequest(user_id=user))
    check((summary.unread, summary.last_seq) == (len(accepted), len(accepted)), f"the counters are wrong: {summary}")
    marked = carillon.call(carillon.feed_stub.MarkRead,
                           carillon.feed.MarkReadRequest(user_id=user, up_to_seq=summary.last_seq))
    check(marked.unread == 0, f"{marked.unread} items are unread after all were marked")


def errors_carry_a_reason(carillon, user):
    status_messages = importlib.import_module("google.rpc.status_pb2")
    details = importlib.import_module("google.rpc.error_details_pb2")
    try:
        carillon.send(user, "no.such.type", {}, "")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.INVALID_ARGUMENT, f"an unknown type is answered with {error.code()}")
        trailers = dict(error.trailing_metadata())
        status = status_messages.Status.FromString(trailers["grpc-status-details-bin"])
        info = details.ErrorInfo()
        check(any(detail.Unpack(info) for detail in status.details), "the error has no ErrorInfo")
        check((info.reason, info.domain) == ("UNKNOWN_TYPE", "carillon"), f"the reason is {info.domain} {info.reason}")
        return
    raise Failure("an unknown type was accepted")


def run():
    carillon = Carillon(*(os.environ[f"CARILLON_{name}"] for name in ("ADDRESS", "APP_KEY", "APP_SECRET")))
    user = f"python-{uuid.uuid4()}"
    began = time.monotonic()
    accepted = sends_are_accepted_once(carillon, user)
    stream_tells_each_once(carillon, user, accepted)
    state_and_feed_agree(carillon, user, accepted)
    errors_carry_a_reason(carillon, user)
    carillon.channel.close()
    print(f"python client: {len(accepted)} notifications sent, streamed and read back in "
          f"{time.monotonic() - began:.2f} s")


def main():
    with tempfile.TemporaryDirectory(prefix="carillon-python-") as directory:
        try:
            generate(directory)
            run()
        except (Failure, KeyError) as fault:
            print(f"python client: {fault!r}", file=sys.stderr)
            return 1
        except grpc.RpcError as error:
            print(f"python client: {error.code()}: {error.details()}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
