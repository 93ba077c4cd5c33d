#!/usr/bin/python3
"""Checks which folder may include what. Third-party headers all live in one
system directory, so linking alone can't stop a wrong #include."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDERS = ("carillon", "server", "workers", "client", "tests")
ADAPTERS = ("carillon/postgres/", "carillon/rabbitmq/", "carillon/redis/")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')

# A library's headers, and the only places that may include them.
LIBRARIES = (
    (re.compile(r"^pqxx/|^libpq"), ("carillon/postgres/", "tests/")),
    (re.compile(r"^amqp|^rabbitmq-c/"), ("carillon/rabbitmq/", "tests/")),
    (re.compile(r"^curl/"), ("workers/channels/", "tests/")),
    (re.compile(r"^jwt\.h$"), ("workers/channels/", "server/api/user_tokens.cc", "tests/")),
    (re.compile(r"^hiredis/"), ("carillon/redis/", "tests/")),
    (re.compile(r"^phonenumbers/"), ("server/api/",)),
    (re.compile(r"^boost/"), ("server/http/",)),
    (re.compile(r"^grpcpp/|^grpc/|\.grpc\.pb\.h$"),
     ("server/api/", "server/connect/", "server/feed/", "server/server.cc", "client/", "carillon/runtime/", "tests/")),
)

# For code below a folder: our own headers that it may include. The longest
# folder that matches counts; tests may include everything.
OWN = {
    "carillon/domain/": ("carillon/domain/",),
    "carillon/ports/": ("carillon/domain/", "carillon/ports/"),
    "carillon/wire/": ("carillon/domain/", "carillon/ports/", "carillon/wire/", "carillon/v1/", "carillon/internal/"),
    **{adapter: ("carillon/domain/", "carillon/ports/", "carillon/wire/", "carillon/v1/", "carillon/internal/", adapter)
       for adapter in ADAPTERS},
    "carillon/runtime/": ("carillon/domain/", "carillon/ports/", "carillon/runtime/"),
    "carillon/channels/": ("carillon/domain/", "carillon/ports/", "carillon/wire/", "carillon/v1/", "carillon/runtime/",
                           "carillon/channels/"),
    "server/": ("carillon/", "server/", "google/rpc/"),
    "workers/": ("carillon/", "workers/", "google/rpc/"),
    "client/": ("carillon/v1/", "client/", "google/rpc/"),
    "client/ctl/": ("carillon/v1/", "client/", "google/rpc/", "carillon/postgres/", "carillon/domain/",
                    "carillon/runtime/", "carillon/wire/"),
    "client/bench/": ("carillon/v1/", "client/", "google/rpc/", "carillon/postgres/", "carillon/rabbitmq/",
                      "carillon/domain/", "carillon/wire/"),
}
# What the innermost folders may include besides our own headers.
PURE = {"carillon/domain/": re.compile(r"^(absl/|[a-z_]+$)"), "carillon/ports/": re.compile(r"^(absl/|[a-z_]+$)")}

# Time and flags: one pattern, where it is allowed, and why nowhere else.
WORDS = (
    (re.compile(r"\babsl::Now\(\)|\babsl::SleepFor\("),
     ("carillon/runtime/", "carillon/ports/clock.h", "client/", "tests/"),
     "take a Clock, or wait on a StopSignal"),
    (re.compile(r"\bABSL_FLAG\("), (), "flags exist in main.cc files only"),
)

# (file, included header or matched word): why it is right there.
EXCEPTIONS = {
}


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def included_own(header):
    """The header as a path of ours, or None."""
    return header if header.startswith((*FOLDERS, "google/rpc/")) and "/" in header else None


def faults_of_include(path, header):
    for pattern, allowed in LIBRARIES:
        if pattern.search(header) and not path.startswith(allowed):
            yield f"only {', '.join(allowed)} may include it"
    if path.startswith("tests/"):
        return
    folder = max((folder for folder in OWN if path.startswith(folder)), key=len)
    own = included_own(header)
    if own is not None and not own.startswith(OWN[folder]):
        yield f"{folder} may include only {', '.join(OWN[folder])} of ours"
    if own is None and folder in PURE and not PURE[folder].search(header):
        yield f"{folder} stands on the standard library and Abseil alone"


def check(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            for fault in faults_of_include(path, match[1]):
                if (path, match[1]) not in EXCEPTIONS:
                    yield f"{path}:{number}: #include {match[1]}: {fault}"
        for pattern, allowed, advice in WORDS:
            found = pattern.search(line)
            if found and not path.startswith(allowed or ("\0",)) and pathlib.Path(path).name != "main.cc":
                if (path, found[0]) not in EXCEPTIONS:
                    yield f"{path}:{number}: {found[0]}: {advice}"


def main():
    faults = [fault for path, text in sources() for fault in check(path, text)]
    print("\n".join(faults) or "layering: OK")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
