"""Every command and every setting that the README and docs/models.md show is tried: for real, or as a dry run.

Commands that need a trained model are tried in `test_pipeline.py`, which knows them by the names in NEED_A_MODEL.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mmesid import config as configuration

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = README + (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NEED_A_MODEL = ("mmesid recommend", "mmesid register", "mmesid promote", "mmesid rollback", "mmesid retrain")


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(SHOWN) if found == language]


def commands() -> list[str]:
    """The lines of the shell blocks, each once, without their remarks."""
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    found = (shlex.join(shlex.split(line, comments=True)) for line in lines if line.split("#")[0].strip())
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Path:
    """A fresh checkout, beside a catalogue at the README's /path/to/toys."""
    root = project_copy(tmp_path_factory.mktemp("readme") / "checkout")
    toys = root.parent / "toys"
    toys.mkdir()
    rows = [(f"u{user}", f"i{(user + step) % 12}", step) for user in range(30) for step in range(8)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(toys / "interactions.csv", index=False)
    items = pd.DataFrame({"item_id": [f"i{item}" for item in range(12)], "title": "toy"})
    items.to_csv(toys / "items.csv", index=False)
    return root


def run(command: str, folder: Path) -> str:
    """Run a shell line with this environment's commands first on PATH; it must succeed."""
    path = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    done = subprocess.run(
        ["sh", "-c", path + command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def try_make(command: str, checkout: Path) -> None:
    said = run(f"make -n {command.removeprefix('make ')}", checkout)
    assert "uv pip" in said or "dvc" in said or "pytest" in said


def try_activation(command: str, checkout: Path) -> None:
    assert command == ". .venv/bin/activate"
    activate = Path(sys.prefix) / "bin" / "activate"
    names = ("mmesid", "dvc", "mlflow", "prefect")
    found = run(f". {shlex.quote(str(activate))}; " + "; ".join(f"command -v {name}" for name in names), checkout)
    assert found.splitlines() == [str(activate.parent / name) for name in names]


def try_add(command: str, checkout: Path) -> None:
    run(command.replace("/path/to/toys", str(checkout.parent / "toys")), checkout)
    assert "toys" in configuration.datasets(checkout)
    configuration.load("toys", checkout)


def try_help(command: str, checkout: Path) -> None:
    run(f"{command} --help", checkout)


def try_several(command: str, checkout: Path) -> None:
    variable, _, rest = command.partition(" ")
    assert variable == "MMESID_PROCESSES=8"  # what stages understand: tests/stages, tests/recommender/test_parallel.py
    try_make(rest, checkout)


def try_doctor(command: str, checkout: Path) -> None:
    assert "requirements.lock" in run(f"{command} || true", checkout)


def try_list(command: str, checkout: Path) -> None:
    """Fetching is tried in tests/commands/test_weights.py."""
    run(command if "--list" in command else f"{command} --list", checkout)


def try_request(command: str, checkout: Path) -> None:
    """Answered in tests/servers/test_serve.py."""
    words = shlex.split(command)
    assert json.loads(words[words.index("-d") + 1])["inputs"]
    assert words[-1].startswith("http://127.0.0.1:8000/")


def try_for_real(command: str, checkout: Path) -> None:
    run(command, checkout)


# The first words of a command -> how it is tried. A command that is not here fails its test.
TRIALS: dict[str, Callable[[str, Path], None]] = {
    "make": try_make,
    ". .venv/bin/activate": try_activation,
    "mmesid add": try_add,
    "mmesid doctor": try_doctor,
    "mmesid log": try_for_real,
    "mmesid history": try_for_real,
    "mmesid plan": try_for_real,
    "mmesid weights": try_list,
    "mmesid remote": try_for_real,
    "mmesid up": try_help,  # for real in tests/servers/test_services.py
    "mmesid serve": try_help,  # for real in tests/servers/test_serve.py
    "mmesid ablate": try_help,  # for real in tests/commands/test_ablate.py
    "mmesid claims": try_help,  # for real in tests/commands/test_paper.py
    "mmesid report": try_help,
    "mmesid compare": try_help,  # for real in tests/commands/test_compare.py
    "dvc push": try_help,  # for real in tests/commands/test_remote.py
    "MMESID_PROCESSES=8": try_several,
    "hf auth login": try_help,
    "curl": try_request,
    **dict.fromkeys(NEED_A_MODEL, try_help),
}


@pytest.mark.pipeline
@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works(command: str, checkout: Path) -> None:
    trial = next((TRIALS[start] for start in TRIALS if f"{command} ".startswith(f"{start} ")), None)
    assert trial is not None, f"no test knows how to try `{command}`; add it to TRIALS"
    trial(command, checkout)


def test_the_readme_shows_the_commands_that_matter() -> None:
    shown = " ".join(commands())
    assert all(start in shown for start in (*NEED_A_MODEL, "make repro", "make test", "mmesid add", "mmesid doctor"))


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_setting_of_the_readme_is_valid(text: str, checkout: Path) -> None:
    (checkout / "conf" / "shown.yaml").write_text(text, encoding="utf-8")
    shown = configuration.load("shown", checkout)
    for section, values in yaml.safe_load(text).items():
        found = dict(configuration.flatten(getattr(shown, section).model_dump()))
        assert found.items() >= dict(configuration.flatten(values)).items()


def test_a_block_is_of_a_kind_that_is_tried() -> None:
    assert {language for language, _ in BLOCK.findall(SHOWN)} <= {"sh", "yaml"}
    assert SHOWN.count("```") == 2 * len(BLOCK.findall(SHOWN))


def anchors(document: Path) -> set[str]:
    """What follows the # in a link to each heading of a document, as GitHub has it."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", document.read_text(encoding="utf-8"))
    for place, anchor in targets:
        target = document.parent / place if place else document
        assert target.exists(), place
        assert not anchor or anchor in anchors(target), f"{place}#{anchor}"


def test_the_map_names_what_exists() -> None:
    names = re.findall(r"^\| (`.+?) \|", README, re.MULTILINE)
    paths = [path for cell in names for path in re.findall(r"`((?:src|flows|tests|dvc)[^`]*)`", cell)]
    assert len(paths) > 8
    assert not [path for path in paths if not (ROOT / path).exists()]
    packages = {path.name for path in (ROOT / "src" / "mmesid").iterdir() if (path / "__init__.py").exists()}
    assert packages <= {name.rpartition("/")[2] for cell in names for name in re.findall(r"`([^`]*)`", cell)}
