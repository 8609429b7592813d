"""`python -m tests.licenses` writes docs/dependencies.md between its marks: every package of requirements.lock that is
installed here, and its license as its own metadata says it.
"""

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from mmesid.commands.doctor import read_lock

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
BEGIN, END = "<!-- licenses: written by `python -m tests.licenses` -->", "<!-- /licenses -->"
CLASSIFIER = "License :: "
BY_HAND = {  # what a package ships as its license, where its metadata names none, or only one of two
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # an empty package that asks for NVIDIA's
    "grandalf": "GPL-2.0-only OR EPL-1.0",
    "huey": "MIT",
    "skops": "MIT",
}
MORE = re.compile("GPL|MPL|EPL|Mozilla|Lesser|NVIDIA")  # asks for more than its notice


class Package(NamedTuple):
    """One row."""

    name: str
    version: str
    license: str


def license_of(name: str) -> str:
    """What a package's metadata says: the SPDX expression, else its classifiers, else its text's first line."""
    if name in BY_HAND:
        return BY_HAND[name]
    about = metadata.metadata(name)
    if expression := about.get("License-Expression"):
        return str(expression)
    kinds = [kind for kind in about.get_all("Classifier") or [] if kind.startswith(CLASSIFIER)]
    named = sorted({kind.rpartition(" :: ")[2] for kind in kinds} - {"OSI Approved"})
    return ", ".join(named) or (about.get("License") or "").strip().partition("\n")[0].strip()


def installed() -> list[Package]:
    """Every locked package of this machine, by name."""
    pinned = read_lock(ROOT / "requirements.lock")
    return [Package(name, version, license_of(name)) for name, version in sorted(pinned.items())]


def tables(packages: list[Package]) -> str:
    """Those that ask for more than their notice, then all others by license."""
    more = [package for package in packages if MORE.search(package.license)]
    rows = [f"| {package.name} {package.version} | {package.license} |" for package in more]
    parts = [
        "| asks for more than its notice | license |",
        "|---|---|",
        *rows,
        "",
        "| license | packages |",
        "|---|---|",
    ]
    others = sorted({package.license for package in packages} - {package.license for package in more})
    for name in others:
        named = ", ".join(f"{package.name} {package.version}" for package in packages if package.license == name)
        parts.append(f"| {name} | {named} |")
    return "\n".join(parts)


def page(text: str, packages: list[Package]) -> str:
    """The document with the tables of today."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{tables(packages)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), installed()), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
