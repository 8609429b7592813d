"""Every package of the lock has a license that somebody has looked at, and docs/dependencies.md names it."""

import sys

import pytest

from tests import licenses

KNOWN = frozenset(  # free to use with notice, or looked at: those that ask for more stand in a table of their own
    """
    0BSD|3-Clause BSD License|Apache 2.0 License|Apache License 2.0|Apache Software License|Apache-2.0|Artistic License
    BSD|BSD License|BSD-2-Clause|BSD-3-Clause|BSL-1.0|CC0-1.0|CNRI-Python|DFSG approved|EPL-1.0|EPL-2.0
    GNU General Public License (GPL)|GNU General Public License v2 or later (GPLv2+)|GPL-2.0-only|GPL-2.0-or-later
    GNU Library or Lesser General Public License (LGPL)|GPLv2 with linking exception|ISC|ISC License (ISCL)
    LLVM-exception|LicenseRef-NVIDIA-Proprietary|MIT|MIT License|MIT-0|MIT-CMU|MPL-2.0
    Mozilla Public License 2.0 (MPL 2.0)|NVIDIA Proprietary Software|PSF-2.0|Python Software Foundation License|Zlib
    Zope Public License
    """.replace("\n    ", "|")
    .strip("| \n")
    .split("|")
)
WORDS = (" AND ", " OR ", " WITH ", ", ")


def parts(license_: str) -> set[str]:
    """The licenses that an expression names."""
    for word in WORDS:
        license_ = license_.replace(word, "|")
    whole = {part.strip() for part in license_.split("|")}
    return {part if part in KNOWN else part.strip("()") for part in whole}


def test_every_license_is_one_that_somebody_has_looked_at() -> None:
    unknown = {package.name: package.license for package in licenses.installed() if not parts(package.license) <= KNOWN}
    assert unknown == {}, "look at them, then name them in KNOWN, or what the package ships in licenses.BY_HAND"


@pytest.mark.skipif(sys.platform != "linux" or sys.version_info[:2] != (3, 11), reason="the page is of that machine")
def test_the_page_is_of_todays_lock() -> None:
    text = licenses.PAGE.read_text(encoding="utf-8")
    assert text == licenses.page(text, licenses.installed()), "python -m tests.licenses"


def test_a_copyleft_is_set_apart() -> None:
    packages = [licenses.Package("a", "1", "MIT"), licenses.Package("b", "2", "GPL-2.0-only OR EPL-1.0")]
    lines = licenses.tables(packages).splitlines()
    assert lines.index("| b 2 | GPL-2.0-only OR EPL-1.0 |") < lines.index("| MIT | a 1 |")
    assert parts("GPL-2.0-only AND (Apache-2.0 OR Unheard)") - KNOWN == {"Unheard"}
