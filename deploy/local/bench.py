#!/usr/bin/python3
"""Measures a running local system with every scenario of carillon-bench, or what
its growth costs, and writes a table. Finds the system in the CARILLON_* variables."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# The generator that belongs to the programs that run.
STACK = pathlib.Path(os.environ["CARILLON_STACK_DIR"])
PROGRAM = pathlib.Path(json.loads((STACK / "state.json").read_text())["binaries"]) / "carillon-bench"
RESULTS = ROOT / "build" / "bench"
SCENARIO_SECONDS = 1800

# (title, scenario, arguments): short enough that all of them take less than 15
# minutes. Latencies first: what comes later leaves work to autovacuum.
SCENARIOS = (
    ("latency, 400/s, all lanes", "latency", ["--rate=400", "--seconds=12"]),
    ("latency, 3 000/s, social", "latency", ["--rate=3000", "--seconds=8", "--types=like"]),
    ("isolation", "isolation", ["--rate=200", "--seconds=20", "--flood=1000000"]),
    ("send, singles", "send", ["--seconds=8", "--baseline"]),
    ("send, batches of 100", "send", ["--seconds=5", "--batch=100", "--in-flight=8", "--baseline"]),
    ("e2e, singles", "e2e", ["--count=50000"]),
    ("e2e, batches of 100", "e2e", ["--count=80000", "--batch=100", "--in-flight=8"]),
    ("e2e, singles, all lanes", "e2e",
     ["--count=20000", "--types=like=6,chat.message=5,marketing.discount=6,otp.login=2,payment.receipt=1"]),
    ("relay, unpacked", "relay", ["--rows=1000000", "--pack=1"]),
    ("relay", "relay", ["--rows=1000000"]),
    ("lane payment", "lane", ["--lane=payment", "--count=20000"]),
    ("lane otp", "lane", ["--lane=otp", "--count=20000"]),
    ("lane social", "lane", ["--lane=social", "--count=60000"]),
    ("lane marketing", "lane", ["--lane=marketing", "--count=30000"]),
    ("fan-out, a row each", "fanout", ["--followers=200000"]),
    ("fan-out, two events and likes", "fanout", ["--followers=200000", "--events=2", "--like-rate=100", "--seconds=8"]),
    ("fan-out, stored once", "fanout", ["--followers=200000", "--shared", "--online=1000"]),
    ("10 000 streams", "streams", ["--seconds=10"]),
    ("10 000 streams of one topic", "streams", ["--source=topic", "--seconds=10"]),
    ("5 000 streams come back", "streams", ["--streams=5000", "--herd"]),
    ("1 000 readers of a topic", "readers", ["--second-server", "--seconds=10"]),
    ("routing", "routing", ["--seconds=10"]),
    ("deliveries by e-mail", "deliveries", ["--channel=email", "--count=5000"]),
    ("deliveries by SMS", "deliveries", ["--channel=sms", "--count=5000"]),
    ("deliveries by APNs", "deliveries", ["--channel=apns", "--count=5000"]),
    ("deliveries by FCM", "deliveries", ["--channel=fcm", "--count=5000"]),
    ("deliveries by webhook", "deliveries", ["--channel=webhook", "--count=5000"]),
    ("a provider of social e-mail hangs", "deliveries", ["--hang-provider", "--seconds=20"]),
)
CHANNELS = ("email", "sms", "apns", "fcm", "webhook")
MEASURED_BESIDE_A_HANG = ("otp_sms", "payment_email", "like_in_app")


def run(scenario, arguments):
    """The figures of one scenario; None if it has none to tell."""
    # The launcher of the stack is found from here.
    result = subprocess.run([PROGRAM, scenario, "--json", *arguments], check=False, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=SCENARIO_SECONDS)
    return json.loads(result.stdout) if result.stdout else None


def cpu(usage):
    """'97 µs: server 41, postgres 30, ...', the largest first."""
    parts = dict(usage["cpu_us_per_notification"])
    total = parts.pop("all")
    largest = sorted(parts.items(), key=lambda part: -part[1])
    return f"{total:.0f} µs: " + ", ".join(f"{name} {value:.0f}" for name, value in largest if value >= 0.5)


def milliseconds(times, names=("p50", "p95", "p99")):
    return ", ".join(f"{name} {times[name]:.1f}" for name in names) + " ms"


TAIL = ("p50", "p99", "p99.9")


def describe_send(figures):
    text = f"{figures['per_second']:.0f}/s; {milliseconds(figures['call_ms'])}"
    if "baseline" in figures:
        text += f"; naive way {figures['baseline']['per_second']:.0f}/s, so {figures['times_baseline']:.2f} times"
    return text


def describe_e2e(figures):
    return (f"{figures['delivered_per_second']:.0f}/s; to the stream {milliseconds(figures['send_to_stream_milliseconds'])}; "
            f"{figures['lost']} lost, {figures['duplicates']} doubled")


def describe_latency(figures):
    return (f"to the stream {milliseconds(figures['due_to_stream_ms'], TAIL)}; "
            f"to the answer {milliseconds(figures['due_to_answer_ms'], TAIL)}")


def describe_isolation(figures):
    lanes = [f"{lane} {milliseconds(figures['idle'][lane], ('p50', 'p99'))} idle, "
             f"{milliseconds(figures['flood'][lane], ('p50', 'p99'))} in the flood, "
             f"{milliseconds(figures['flood'][lane + '_same_recipients'], ('p50', 'p99'))} to its recipients"
             for lane in ("payment", "otp")]
    return "; ".join(lanes) + f"; flood delivered at {figures['flood_delivered_per_second']:.0f}/s"


def describe_relay(figures):
    return (f"{figures['rows_per_second']:.0f} rows/s in {figures['messages']} messages; "
            f"otp meanwhile {milliseconds(figures['otp_meanwhile_ms'], ('p50', 'p99'))}")


def describe_lane(figures):
    return f"{figures['per_second']:.0f}/s"


def describe_fanout(figures):
    if figures["path"] == "shared":
        streams = figures["streams"]
        return (f"to {figures['online']} online of {figures['followers']}: "
                f"{milliseconds(figures['answer_to_online_ms'], ('p50', 'p99', 'max'))}; "
                f"{streams['missing']} missing, {streams['twice']} twice")
    told = figures["told"]
    text = f"{figures['items_per_second']:.0f} items/s; {told['missing']} missing, {told['twice']} twice"
    if "likes" in figures:
        likes = figures["likes"]
        text += "" if likes["comparable"] else "; NOT COMPARABLE, the machine was not ours alone"
        text += "".join(f"; likes {name} {milliseconds(likes[phase]['to_the_stream_ms'], ('p50', 'p99'))} "
                        f"(others used {likes[phase]['others_percent']:.0f} % of the machine)"
                        for phase, name in (("idle", "idle"), ("fanout", "meanwhile")))
    return text


def describe_streams(figures):
    text = f"{figures['kib_per_stream']:.1f} KiB a stream; "
    if figures["source"] == "herd":
        return text + f"all back with their backlog: {milliseconds(figures['begin_to_backlog_ms'], ('p50', 'p99', 'max'))}"
    return text + f"{figures['messages_per_second']:.0f} messages/s, {milliseconds(figures['send_to_stream_ms'])}"


def describe_readers(figures):
    return (f"{figures['reads_per_second']:.0f} reads/s, {milliseconds(figures['read_ms'])}; {figures['queries']} queries; "
            f"at most {figures['max_staleness_ms']:.0f} ms stale")


def describe_routing(figures):
    return "; ".join(f"{mode}: {figures[mode]['per_second']:.0f}/s, servers got "
                     + " and ".join(f"{server['updates']} updates ({server['wanted']} wanted)"
                                    for server in figures[mode]["received"].values())
                     for mode in ("directed", "broadcast"))


def describe_deliveries(figures):
    if "hang" in figures:
        lanes = [f"{name} {milliseconds(figures['alone'][name], ('p50', 'p99'))} alone, "
                 f"{milliseconds(figures['hang'][name], ('p50', 'p99'))} meanwhile" for name in MEASURED_BESIDE_A_HANG]
        social = figures["social_email"]
        return "; ".join(lanes) + f"; of what hung {social['missing']} missing, {social['doubled']} doubled"
    return "; ".join(f"{one['per_second']:.0f}/s, to sent {milliseconds(one['accepted_to_sent_ms'], ('p50', 'p99'))}, "
                     f"{one['connections']} connections, {one['missing']} missing, {one['doubled']} doubled; "
                     f"bound: {one['bound']}" for one in (figures[name] for name in CHANNELS if name in figures))


DESCRIBE = {"deliveries": describe_deliveries, "fanout": describe_fanout, "streams": describe_streams, "readers": describe_readers,
            "routing": describe_routing, "send": describe_send, "e2e": describe_e2e, "latency": describe_latency,
            "isolation": describe_isolation, "relay": describe_relay, "lane": describe_lane}


def usage_of(figures):
    parts = ("flood", "directed", "hang", *CHANNELS)
    return figures.get("usage") or next(figures[part] for part in parts if part in figures)["usage"]


def row(title, figures):
    if figures is None:
        return f"| {title} | refused or failed: see above | | | | |"
    usage = usage_of(figures)
    passed = "" if figures["passed"] else "FAILED: "
    return (f"| {title} | {passed}{DESCRIBE[figures['scenario']](figures)} | {cpu(usage)} | "
            f"{usage['steal_percent']} % | {usage['others_percent']} % | {figures['seed']} |")


def write(name, rows, documents):
    RESULTS.mkdir(parents=True, exist_ok=True)
    table = "\n".join(["| scenario | figures | CPU per notification | steal | others | seed |",
                       "| --- | --- | --- | --- | --- | --- |",
                       *rows]) + "\n"
    (RESULTS / f"{name}.md").write_text(table)
    (RESULTS / f"{name}.json").write_text(json.dumps(documents, indent=2) + "\n")
    print(f"\n{table}\nin {(RESULTS / name).relative_to(ROOT)}.md and .json", flush=True)


def measure(title, scenario, arguments):
    print(f"== {title}", flush=True)
    began = time.monotonic()
    figures = run(scenario, arguments)
    line = row(title, figures)
    print(f"{line}\n   ({time.monotonic() - began:.0f} s)", flush=True)
    return figures, line


def run_all(arguments):
    results = [measure(title, scenario, [*options, *seed_of(arguments)]) for title, scenario, options in SCENARIOS]
    documents = {title: figures for (title, _, _), (figures, _) in zip(SCENARIOS, results)}
    write("table", [line for _, line in results], documents)
    return [figures for figures, _ in results]


def run_growth(arguments):
    """The same load in tables that hold more and more."""
    results, filled = {}, 0
    for rows in (10_000, *arguments.rows):
        print(f"== filling up to {rows} notifications", flush=True)
        run("prefill", [f"--rows={rows - filled}"])
        filled = rows
        title = f"e2e, {rows} before"
        results[title] = measure(title, "e2e", ["--count=30000", *seed_of(arguments)])
    write("growth", [line for _, line in results.values()], {title: figures for title, (figures, _) in results.items()})
    return [figures for figures, _ in results.values()]


def seed_of(arguments):
    return [] if arguments.seed is None else [f"--seed={arguments.seed}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    everything = commands.add_parser("all", help="every scenario, short")
    everything.set_defaults(function=run_all)
    growth = commands.add_parser("growth", help="what a notification costs in empty tables and in large ones")
    growth.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000],
                        help="how many notifications there are before (default: 1000000 5000000)")
    growth.set_defaults(function=run_growth)
    for command in (everything, growth):
        command.add_argument("--seed", type=int, default=None, help="repeats the draws of a run")
    arguments = parser.parse_args()
    results = arguments.function(arguments)
    return 0 if all(figures is not None and figures["passed"] for figures in results) else 1


if __name__ == "__main__":
    sys.exit(main())
