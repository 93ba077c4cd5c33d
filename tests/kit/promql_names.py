"""Which metrics and labels a PromQL expression asks for. Reads what our dashboards and rules are made of, not all of
the language."""

import re

METRIC = re.compile(r"\b(?:[a-z]+:)?carillon_[a-z0-9_:]+\b|\b(?:up|ALERTS)\b")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
REPLACED = re.compile(r',\s*"([a-z_]+)",\s*"[^"]*",\s*"[^"]*",\s*"')
STRING = re.compile(r'"[^"]*"')
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$", re.MULTILINE)
LABEL = re.compile(r'([a-zA-Z_]+)="(?:[^"\\]|\\.)*"')
# Prometheus adds them to what it scrapes.
TARGET_LABELS = {"job", "instance"}


def metrics_of(expression):
    return set(METRIC.findall(STRING.sub('""', expression)))


def exposed_by(page):
    """{metric: labels} of a page in Prometheus' text format."""
    exposed = {}
    for name, labels in SAMPLE.findall(page):
        exposed.setdefault(name, set(TARGET_LABELS)).update(LABEL.findall(labels))
    return exposed


def groupings_of(expression):
    return {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def faults_of(expression, exposed):
    """What the expression asks for and nobody tells, in words."""
    metrics = metrics_of(expression)
    faults = [f"no metric {name}" for name in sorted(metrics - exposed.keys())]
    for name, matchers in SELECTOR.findall(expression):
        unknown = set(MATCHER.findall(STRING.sub('""', matchers))) - exposed.get(name, set())
        faults += [f"{name} has no label {label}" for label in sorted(unknown) if name in exposed]
    known = set(REPLACED.findall(expression)).union(*(exposed.get(name, set()) for name in metrics))
    return faults + [f"no metric in it has a label {label}" for label in sorted(groupings_of(expression) - known)]
