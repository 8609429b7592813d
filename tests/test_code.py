"""The code behind a stage: which files count, what changes their digest, and what `make deps` writes."""

import ast
from pathlib import Path

import pytest

from mmesid.pipeline import code
from mmesid.pipeline.code import digest, files_of
from mmesid.pipeline.deps import render

MODEL = '''"""A model."""
from mmesid.room import losses


class Model:
    """Adds."""

    def add(self, value):
        """The sum."""
        # why
        return value + 1
'''
FILES = {
    "__init__.py": "VERSION = 1\n",
    "config/__init__.py": "KEYS = 1\n",
    "config/sizes.py": "STEPS = 44\n",
    "errors.py": "class MmesidError(Exception): ...\n",
    "stages/__init__.py": "",
    "stages/entry.py": "import mmesid.room.unused\n",
    "stages/train.py": "from mmesid import tracking\nfrom mmesid.room import model\nfrom mmesid.stages import entry\n",
    "stages/show.py": "def run():\n    from mmesid.room.page import render\n",
    "tracking/__init__.py": "from mmesid.room import unused\n",
    "room/__init__.py": '"""A room."""\n',
    "room/model.py": MODEL,
    "room/losses.py": "from mmesid.config import KEYS, sizes\nWEIGHT = 1\n",
    "room/page.py": 'def render():\n    return get("page.html")\n',
    "room/unused.py": "",
    "room/templates/page.html": '<style>{% include "page.css" %}</style>\n',
    "room/templates/page.css": "b { color: red }\n",
    "room/templates/other.html": "",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "src" / "mmesid"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def names(stage: str, package: Path) -> list[str]:
    return [str(path.relative_to(package)) for path in files_of(stage, package)]


def test_code_is_what_the_entry_imports_without_what_only_says_or_logs(package: Path) -> None:
    assert names("train", package) == ["config/sizes.py", "room/losses.py", "room/model.py", "stages/train.py"]


def test_templates_count_for_the_module_that_names_them_and_so_does_what_they_include(package: Path) -> None:
    templates = ["room/templates/page.css", "room/templates/page.html"]
    assert names("show", package) == ["room/page.py", *templates, "stages/show.py"]


def test_an_init_that_holds_code_counts_where_it_is_imported(package: Path) -> None:
    (package / "room" / "__init__.py").write_text('"""A room."""\nSIZE = 3\n', encoding="utf-8")
    (package / "stages" / "train.py").write_text("from mmesid.room import SIZE\n", encoding="utf-8")
    assert names("train", package) == ["room/__init__.py", "stages/train.py"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("room/model.py", "# why", "# because\n"),
        ("room/model.py", '"""The sum."""', '"""One more than `value`."""'),
        ("room/model.py", '    """Adds."""\n', ""),
        ("room/model.py", '"""A model."""', '"""A better text."""'),
        ("room/model.py", "value + 1", "(value  +  1)"),
        ("tracking/__init__.py", "from mmesid.room import unused\n", "SECONDS = 2\n"),
        ("errors.py", "...", "pass"),
        ("room/unused.py", "", "x = 1"),
    ],
)
def test_words_and_layout_and_uncounted_code_keep_the_digest(package: Path, file: str, old: str, new: str) -> None:
    before = digest("train", package)
    replace(package / file, old, new)
    assert digest("train", package) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("room/model.py", "value + 1", "value + 2"),
        ("room/model.py", "add(self, value)", "add(self, value, more=1)"),
        ("room/losses.py", "WEIGHT = 1", "WEIGHT = 1.5"),
        ("stages/train.py", "import model", "import model, unused"),
        ("config/sizes.py", "44", "40"),
    ],
)
def test_what_the_code_does_changes_the_digest(package: Path, file: str, old: str, new: str) -> None:
    before = digest("train", package)
    replace(package / file, old, new)
    assert digest("train", package) != before


def test_a_syntax_tree_is_told_alike_by_every_python() -> None:
    """Since 3.12 functions have type parameters, and since 3.13 `ast.dump` leaves out lists that are empty."""
    expected = "Module(body=[FunctionDef(name='f', args=arguments(), body=[Return(value=Constant(value=0))])])"
    assert code._dump(ast.parse("def f():\n    return 0")) == expected


def test_a_template_changes_the_digest(package: Path) -> None:
    before = digest("show", package)
    replace(package / "room/templates/page.css", "red", "blue")
    assert digest("show", package) != before


def test_deps_are_written_in_order_and_the_rest_stays_as_it_is(package: Path) -> None:
    text = """# A remark.
stages:
  train:
    cmd: train  # another
    deps:
      - data/a  # first
      - src/mmesid/room
      - src/mmesid/gone.py
      - data/b
    outs:
      - data/c
"""
    expected = """# A remark.
stages:
  train:
    cmd: train  # another
    deps:
      - src/mmesid/config/sizes.py
      - src/mmesid/room/losses.py
      - src/mmesid/room/model.py
      - src/mmesid/stages/train.py
      - data/a  # first
      - data/b
    outs:
      - data/c
"""
    root = package.parents[1]
    assert render(text, root) == expected
    assert render(expected, root) == expected


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
