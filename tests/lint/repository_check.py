#!/usr/bin/python3
"""Checks that every test is built and that no page links to what is not there."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# An inline Markdown link or image; code spans and blocks are taken out before.
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
SKIPPED = {"build", ".git", ".run", "node_modules"}


def registered(test, folder):
    """True if the CMakeLists.txt of this folder names the test, relative to the folder."""
    listing = folder / "CMakeLists.txt"
    if not listing.exists():
        return False
    text = listing.read_text(encoding="utf-8").replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
    return re.search(rf"(?<![\w/]){re.escape(test.relative_to(folder).as_posix())}(?!\w)", text) is not None


def unregistered_tests():
    for test in sorted(path for path in (ROOT / "tests").rglob("*_test.*") if path.suffix in (".cc", ".py")):
        if not any(registered(test, folder) for folder in test.parents if folder.is_relative_to(ROOT / "tests")):
            yield f"{test.relative_to(ROOT)}: in no CMakeLists.txt, so it never runs"
    for listed in sorted((ROOT / "tests").rglob("*/CMakeLists.txt")):
        parent = listed.parent.parent / "CMakeLists.txt"
        if not re.search(rf"add_subdirectory\({listed.parent.name}\)", parent.read_text() if parent.exists() else ""):
            yield f"{listed.relative_to(ROOT)}: {parent.relative_to(ROOT)} does not add this folder"


def broken_links():
    for page in sorted(ROOT.rglob("*.md")):
        if SKIPPED & set(page.relative_to(ROOT).parts):
            continue
        for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            path = target.split("#")[0]
            if path and "://" not in path and not path.startswith("mailto:") and not (page.parent / path).exists():
                yield f"{page.relative_to(ROOT)}: broken link {target}"


def main():
    faults = [*unregistered_tests(), *broken_links()]
    print("\n".join(faults) or "repository: OK")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
