"""`make deps`: the code of each stage, file by file, into `dvc.yaml`; every other character stays as it is."""

import re
from pathlib import Path

from mmesid.pipeline.code import files_of

STAGE = re.compile(r"^  (\w+):$")
DEPS = "    deps:"
CODE = "      - src/"


def main(root: Path = Path()) -> None:
    """Write `dvc.yaml` anew where the imports have changed."""
    path = root / "dvc.yaml"
    before = path.read_text(encoding="utf-8")
    after = render(before, root)
    if after != before:
        path.write_text(after, encoding="utf-8")


def render(text: str, root: Path = Path()) -> str:
    """The text of `dvc.yaml` in which the files of a stage's code are the first of its `deps`, in sorted order."""
    package = (root / "src" / "mmesid").absolute()
    stage, lines = "", []
    for line in text.splitlines():
        if line.startswith(CODE):
            continue
        lines.append(line)
        if match := STAGE.match(line):
            stage = match[1]
        elif line == DEPS:
            lines += [f"      - {path.relative_to(package.parents[1])}" for path in files_of(stage, package)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
