#!/usr/bin/python3
"""Checks that alerts, runbook, metrics page and dashboards tell of the same things."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "carillon.rules.yml"
RULE_TESTS = RULES.with_name("carillon.rules.test.yml")
RUNBOOK = ROOT / "docs" / "runbook.md"
METRICS = ROOT / "docs" / "metrics.md"
SOURCES = ("carillon", "server", "workers")
# A rule, up to the next one; severities, annotations and merged ones of it.
ALERT = re.compile(r"^      - alert: (\w+)$(.*?)(?=^      - |\Z)", re.MULTILINE | re.DOTALL)
METRIC = re.compile(r'"(carillon_[a-z_]*[a-z])"')


def alerts():
    return ALERT.findall(RULES.read_text())


def rule_faults():
    for name, body in alerts():
        if not re.search(r"severity: (critical|warning)\b", body):
            yield f"{RULES.name}: {name} has no severity of critical or warning"
        if re.search(r"annotations: \*", body):  # Those of the rule before.
            continue
        for field in ("summary", "description"):
            if not re.search(rf"^          {field}: ", body, re.MULTILINE):
                yield f"{RULES.name}: {name} has no {field}"
        if f"runbook_url: docs/runbook.md#{name.lower()}\n" not in body:
            yield f"{RULES.name}: {name} has no runbook_url with its name"


def coverage_faults():
    names = {name for name, _ in alerts()}
    entries = re.findall(r"^### (Carillon\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    tested = set(re.findall(r'alertname="(\w+)"', RULE_TESTS.read_text()))
    yield from (f"{RUNBOOK.name}: no entry for {name}" for name in sorted(names - set(entries)))
    yield from (f"{RUNBOOK.name}: {name} is no alert" for name in sorted(set(entries) - names))
    yield from (f"{RULE_TESTS.name}: {name} is not tested" for name in sorted(names - tested))
    headings = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
                for title in re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)}
    for page in (RUNBOOK, METRICS):
        prefix = "" if page == RUNBOOK else "runbook.md"
        for anchor in re.findall(rf"\({prefix}#([^)]+)\)", page.read_text()):
            if anchor not in headings:
                yield f"{page.name}: no heading #{anchor} in {RUNBOOK.name}"


def metric_faults():
    told = {name for folder in SOURCES for path in (ROOT / folder).rglob("*.cc")
            for name in METRIC.findall(path.read_text())}
    described = set(re.findall(r"^\| .*$", METRICS.read_text(), re.MULTILINE))
    described = {name for row in described for name in re.findall(r"`(carillon_[a-z_]+)`", row.split(" | ")[0])}
    yield from (f"{METRICS.name}: {name} is missing" for name in sorted(told - described))
    yield from (f"{METRICS.name}: nobody tells {name}" for name in sorted(described - told))


def dashboard_faults():
    for path in sorted((ROOT / "deploy" / "grafana").glob("*.json")):
        board = json.loads(path.read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        if len({panel["id"] for panel in board["panels"]}) != len(board["panels"]):
            yield f"{path.name}: two panels have one id"
        for panel in panels:
            defaults = panel["fieldConfig"]["defaults"]
            if panel["type"] != "state-timeline" and "unit" not in defaults:
                yield f"{path.name}: {panel['title']} has no unit"
            if any(target["datasource"]["uid"] != "${datasource}" for target in panel["targets"]):
                yield f"{path.name}: {panel['title']} is bound to one Prometheus"


def main():
    faults = [*rule_faults(), *coverage_faults(), *metric_faults(), *dashboard_faults()]
    print("\n".join(faults) or "monitoring: OK")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
