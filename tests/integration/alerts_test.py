#!/usr/bin/python3
"""deploy/prometheus and deploy/grafana against a real system: no alert fires while it works, each fires on its fault,
none is left when all is mended, and each query asks for what the processes really tell."""

import importlib
import json
import pathlib
import re
import sys
import tempfile
import unittest

import grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("kit", "clients")]
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import python_client
from monitored_system import MonitoredSystem, get
from promql_names import exposed_by, faults_of, groupings_of

SMS = 3  # carillon.v1.CHANNEL_SMS
FIRES_SECONDS = 45
MENDS_SECONDS = 60
TOMORROWS_SLICE = """SELECT slice_name FROM slices WHERE parent = 'feed_items' AND retention_days = 7
                  AND starts_at > now() ORDER BY starts_at LIMIT 1"""


def queries_of_dashboards():
    """(where, query), with Grafana's variables filled in."""
    for path in sorted((ROOT / "deploy" / "grafana").glob("*.json")):
        board = json.loads(path.read_text())
        found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
        found += [(one["name"], one["expr"]) for one in board["annotations"]["list"]]
        found += [(one["name"], re.sub(r"label_values\((.+), (.+)\)", r"count by (\2) (\1)", one["definition"]))
                  for one in board["templating"]["list"] if one["type"] == "query"]
        for title, query in found:
            yield f"{path.name}: {title}", query.replace("$__rate_interval", "10s").replace("$lane", ".*")


class Alerts(unittest.TestCase):
    """One system for all of it; the faults build on each other, in the order of the names."""

    @classmethod
    def setUpClass(cls):
        cls.protos = tempfile.TemporaryDirectory(prefix="carillon-protos.")  # pylint: disable=consider-using-with
        python_client.generate(cls.protos.name)
        cls.messages = importlib.import_module("carillon.v1.notification_service_pb2")
        cls.system = MonitoredSystem()
        cls.client = python_client.Carillon(*(cls.system.variables[f"CARILLON_{name}"]
                                              for name in ("ADDRESS", "APP_KEY", "APP_SECRET")))

    @classmethod
    def tearDownClass(cls):
        cls.system.close()
        cls.protos.cleanup()

    # --- What the tests do.

    def send(self, kind, count=1, channels=(), user="ada", actor="bo"):
        """Accepted, or refused: both are said by metrics."""
        data = {"code": "123456", "title": "Bells", "text": "20 %", "amount": "1.00", "currency": "EUR"}
        for _ in range(-(-count // 1000)):
            request = self.messages.BatchSendNotificationsRequest()
            for _ in range(min(count, 1000)):
                one = request.requests.add(type=kind, user_id=user, actor_id=actor, object_id="o", channels=channels)
                one.data.update(data)
            try:
                self.client.call(self.client.notifications_stub.BatchSendNotifications, request)
            except grpc.RpcError:
                pass

    def await_firing(self, *alerts, meanwhile=lambda: None):
        """Each of these fires, at once or one after the other: (name, labels that it has). All else may."""
        missing = list(alerts)

        def have_fired():
            meanwhile()
            for labels in self.system.firing():
                missing[:] = [(name, wanted) for name, wanted in missing
                              if labels["alertname"] != name or not wanted.items() <= labels.items()]
            return not missing
        self.system.wait_for(have_fired, FIRES_SECONDS)
        self.assertEqual(missing, [], f"fires: {self.system.firing()}")

    def await_mended(self, *names):
        """None of these fires any more."""
        def left():
            return [labels for labels in self.system.firing() if labels["alertname"] in names]
        self.system.wait_for(lambda: not left(), MENDS_SECONDS)
        self.assertEqual(left(), [])

    def rules(self):
        groups = json.loads(get(f"{self.system.prometheus}/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    # --- The tests.

    def test_a_nothing_fires_in_a_system_that_works(self):
        self.system.control("recipients", "set", "ada", "--email", "ada@example.test", "--phone", "+4915112345678")
        # Before the first look at them, all processes are gone.
        started = 'count(up == 1) == count(up) unless on () ALERTS{alertname="CarillonJobGone"}'
        self.assertTrue(self.system.wait_for(lambda: self.system.query(started), FIRES_SECONDS))
        self.await_mended("CarillonJobGone")

        def work():
            for kind in ("payment.receipt", "otp.login", "like", "marketing.discount"):
                self.send(kind, 5)
            self.send("otp.login", channels=(SMS,))
            self.assertEqual(self.system.firing(), [])
            return all(self.system.query(f"{counter} > 100") for counter in (
                "sum(carillon_accepted_to_delivered_seconds_count)", "sum(carillon_published_total)"))
        self.assertTrue(self.system.wait_for(work, FIRES_SECONDS))
        receipts = "sum(carillon_receipts_total) > 0"
        self.assertTrue(self.system.wait_for(lambda: self.system.query(receipts), FIRES_SECONDS))

    def test_b_each_fires_on_its_fault_while_the_rest_goes_on(self):
        self.break_providers()
        tripped = self.trip_a_sender()
        self.take_the_payment_worker_away()
        self.spoil_the_topology()
        tomorrow = self.system.sql(TOMORROWS_SLICE)
        self.system.sql(f"DROP TABLE {tomorrow}")
        transaction = self.bloat_the_outbox()
        self.freeze_the_otp_worker()
        self.await_firing(
            ("CarillonProcessDown", {"job": "carillon-worker"}),
            ("CarillonQueueWithoutConsumers", {"queue": "payment"}),
            ("CarillonLaneOverObjective", {"lane": "payment", "severity": "critical"}),
            ("CarillonBacklogGrowing", {"lane": "otp"}),
            ("CarillonDeliveriesGrowing", {"queue": "otp.email"}),
            ("CarillonDeliveriesOverObjective", {"queue": "otp.email", "severity": "critical"}),
            ("CarillonOutboxDeferred", {"lane": "social"}),
            ("CarillonTopologyMismatch", {}),
            ("CarillonDeadLetters", {"lane": "social", "queue": "social"}),
            ("CarillonPartitionMissing", {}),
            ("CarillonVacuumHeldBack", {}),
            ("CarillonOutboxBloat", {"lane": "fanout"}), meanwhile=self.flood_otp)
        self.lose_payments()
        self.mend(transaction, tomorrow, tripped)
        self.await_mended("CarillonProcessDown", "CarillonQueueWithoutConsumers", "CarillonLaneOverObjective",
                          "CarillonBacklogGrowing", "CarillonDeliveriesGrowing", "CarillonDeliveriesOverObjective",
                          "CarillonPartitionMissing", "CarillonVacuumHeldBack", "CarillonOutboxBloat",
                          "CarillonBreakerOpen", "CarillonProviderMisconfigured", "CarillonSendersTripped")

    def break_providers(self):
        self.system.script("twilio", {"mode": "error", "status": 503})
        self.system.script("vonage", {"mode": "error", "code": 4})
        self.send("otp.login", 20, channels=(SMS,))
        self.await_firing(("CarillonBreakerOpen", {"provider": "twilio", "channel": "sms", "lane": "otp"}),
                          ("CarillonProviderMisconfigured", {"provider": "vonage", "app": "1"}))

    def trip_a_sender(self):
        app = self.system.control("app", "create", "loop", "--scopes", "send")
        self.system.control("app", "limits", app["app"]["app_key"], "--runaway", "5")
        own, self.client = self.client, python_client.Carillon(
            self.system.variables["CARILLON_ADDRESS"], app["app"]["app_key"], app["app_secret"])
        try:
            # The limit is known to the server within a second.
            self.await_firing(("CarillonSendersTripped", {}), meanwhile=lambda: self.send("like", 6, actor="loop"))
        finally:
            self.client = own
        return app["app"]["app_key"]

    def take_the_payment_worker_away(self):
        self.assertEqual(self.system.stack("stop", "worker-payment").returncode, 0)
        self.send("payment.receipt", 3)

    def spoil_the_topology(self):
        with self.system.broker() as broker:
            broker.unbind("social.like", "carillon.direct", "social.like")
            broker.delete("marketing.webhook")
            broker.declare_classic("marketing.webhook")
            broker.publish("social", b"nobody can read this")
        self.send("like", 3)

    def bloat_the_outbox(self):
        """A transaction that somebody forgot, while rows come and go."""
        transaction = self.system.psql()
        transaction.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM outbox;\n")
        transaction.stdin.flush()
        transaction.stdout.readline()
        self.system.sql("""
            INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload, deferred, available_at)
            SELECT new_uuid7(), 1, 'fanout', '', '', '', '', true, now() + interval '1 day'
            FROM generate_series(1, 220000);
            DELETE FROM outbox WHERE lane = 'fanout' AND deferred;""")
        return transaction

    def freeze_the_otp_worker(self):
        self.system.freeze("worker-otp")
        with self.system.broker() as broker:
            broker.publish("otp.email", b"waits", 1100)

    def flood_otp(self):
        self.send("otp.login", 100)
        with self.system.broker() as broker:
            broker.publish("otp.email", b"waits", 50)

    def lose_payments(self):
        """Whoever purges a queue has lost nothing: after 30 s they are queued again, and CarillonMessagesLost fires."""
        with self.system.broker() as broker:
            broker.purge("payment")
        self.assertEqual(self.system.stack("start", "worker-payment").returncode, 0)

    def mend(self, transaction, partition, tripped):
        # A provider that is out is taken away.
        none_left = self.system.directory / "no_sms.json"
        none_left.write_text(json.dumps([{"channel": "CHANNEL_SMS", "providers": []}]))
        self.system.control("providers", "apply", none_left)
        self.system.control("app", "lift", tripped, "loop")
        transaction.communicate("COMMIT;")
        self.system.sql("VACUUM outbox_fanout_deferred")
        # Housekeeping makes what `slices` does not know.
        self.system.sql(f"DELETE FROM slices WHERE slice_name = '{partition}'")
        with self.system.broker() as broker:
            broker.bind("social.like", "carillon.direct", "social.like")
            broker.delete("marketing.webhook")
            broker.purge("otp.email")
        self.system.thaw("worker-otp")

    def test_c_every_query_asks_for_what_is_told(self):
        exposed = {"ALERTS": {"alertname", "alertstate", "severity", "lane", "queue", "provider", "job"}}
        for _, url in self.system.metrics_urls():
            for name, labels in exposed_by(get(url)).items():
                exposed.setdefault(name, set()).update(labels)
        exposed["up"] = {"job", "instance"}
        rules = self.rules()
        for rule in rules:
            if rule["type"] == "recording":
                exposed[rule["name"]] = groupings_of(rule["query"])
        queries = [(rule["name"], rule["query"]) for rule in rules] + list(queries_of_dashboards())
        self.assertGreater(len(queries), 120)
        faults = [f"{place}: {fault}: {query}" for place, query in queries for fault in faults_of(query, exposed)]
        self.assertEqual(faults, [])
        for _, query in queries:
            self.system.query(query)

    def test_d_a_frozen_relay(self):
        self.system.freeze("relay")
        self.send("like", 60)
        with self.system.broker() as broker:
            # More than what the relay has asked for: that counts as under way.
            broker.publish("social.dlq", b"nobody records this", 600)
        self.await_firing(("CarillonRelayStuck", {"lane": "social"}), ("CarillonJobGone", {"job": "carillon-relay"}),
                          ("CarillonDeadLettersUnrecorded", {"queue": "social.dlq"}),
                          ("CarillonLaneRefused", {"lane": "marketing"}))
        self.system.thaw("relay")
        self.await_mended("CarillonRelayStuck", "CarillonJobGone", "CarillonDeadLettersUnrecorded",
                          "CarillonLaneRefused", "CarillonTopologyMismatch")
        # Of the payments that were purged: it has fired, or does so now.
        lost = 'count_over_time(ALERTS{alertname="CarillonMessagesLost",alertstate="firing"}[1h])'
        self.assertTrue(self.system.wait_for(lambda: self.system.query(lost), FIRES_SECONDS))
        self.system.control("dlq", "purge", "--all-apps", "--yes", "--reason", "the test made them")

    def test_e_backends_that_are_away(self):
        self.assertEqual(self.system.stack("kill", "redis").returncode, 0)
        self.await_firing(("CarillonRedisAway", {}), meanwhile=lambda: self.send("like"))
        self.assertEqual(self.system.stack("start", "redis").returncode, 0)
        self.assertEqual(self.system.stack("stop", "relay").returncode, 0)
        self.assertEqual(self.system.stack("kill", "rabbitmq").returncode, 0)
        self.assertEqual(self.system.stack("start", "relay").returncode, 0)
        self.await_firing(("CarillonBrokerAway", {}), ("CarillonNotReady", {"job": "carillon-relay"}))
        self.system.freeze_with_children("postgres")
        self.await_firing(("CarillonDatabaseAway", {}), ("CarillonSendsFail", {}),
                          ("CarillonNotReady", {"job": "carillon-server"}),
                          *(("CarillonMeasuresStale", {"job": job}) for job in ("carillon-server", "carillon-relay")),
                          meanwhile=lambda: self.send("like"))

    def test_f_none_is_left_when_all_is_mended(self):
        self.system.thaw_with_children("postgres")
        self.assertEqual(self.system.stack("start", "rabbitmq").returncode, 0)
        self.system.wait_for(lambda: not self.system.firing(), MENDS_SECONDS)
        self.assertEqual(self.system.firing(), [])

    def test_g_every_alert_was_seen(self):
        names = {rule["name"] for rule in self.rules() if rule["type"] == "alerting"}
        fired = self.system.query('count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))')
        self.assertEqual(names - {one["metric"]["alertname"] for one in fired}, set())


if __name__ == "__main__":
    unittest.main()
