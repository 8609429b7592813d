"""`make paper` on a small category with all faults of servers and files: from an address to metrics, killed or not."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from mmesid import config as configuration
from mmesid import tracking
from mmesid.artifacts.evaluate import load_metrics
from mmesid.artifacts.store import Store
from mmesid.commands import add_address
from tests import amazon_files, paper_world, tiny
from tests.faulty_pages import Page, Server, serving
from tests.paper_world import CATEGORY, CONNECTIONS, FEW, NAME
from tests.waiting import wait_until

CHAIN = (
    *("ingest", "validate", "prepare", "encode_collaborative", "encode_content", "tokenize", "init_codes"),
    *("finetune", "baselines", "fuse", "evaluate"),
)
KILLED = {"encode_content": 0.7, "tokenize": 0.7, "finetune": 0.7}  # share of a stage's time before it is killed


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.mark.pipeline
@pytest.mark.timeout(600)
def test_the_papers_way_goes_from_an_address_with_faults_to_metrics(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_copy: Callable[[Path], Path]
) -> None:
    """Every stage in one process."""
    amazon_files.alone(tmp_path, monkeypatch)
    paper_world.publish(server)
    root = paper_world.make(project_copy(tmp_path / "checkout"), tmp_path / "models")
    monkeypatch.chdir(root)
    given = add_address.Address(server.url, CATEGORY, "2014", {})
    add_address.add(NAME, given, root, False, False, True, preset=NAME)
    paper_world.loosen(root)
    tiny.configure(root, NAME)
    config, store = configuration.load(NAME, root), Store(NAME)
    assert (config.init_codes.items, config.tokenize.alignment) == ("table", "infonce")
    for stage in CHAIN:
        with tracking.silent_run(stage) as log:
            import_module(f"mmesid.stages.{stage}").run(config, store, log)
    metrics = load_metrics(store)
    assert {name: metrics["data"][name] for name in ("users", "items")} == {k: FEW[k] for k in ("users", "items")}
    assert set(metrics["tokenizer"]) == {"collaborative", "text", "image"}
    assert 0 <= metrics["test"]["mme_sid"]["ndcg_at_10"] <= 1
    assert server.asked["/pictures/7.jpg"] == 2
    assert server.asked["/pictures/0.jpg"] == 1


def make_paper(root: Path, folder: Path, stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """It starts as a session of its own, with one process and no hub."""
    environment = {**tiny.environment(root), **paper_world.alone(folder), "MMESID_PROCESSES": "1"}
    return subprocess.Popen(
        ["make", "paper", f"DATASETS={NAME}"],
        cwd=root,
        env=environment,
        text=True,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def checkout(folder: Path, models: Path, server: Server, project_copy: Callable[[Path], Path]) -> Path:
    """With the dataset added, and no other listed."""
    root = paper_world.make(project_copy(folder / "checkout"), models)
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    tiny.write_yaml(root / "params.yaml", {**params, "datasets": [NAME]})
    done = tiny.run(root, *paper_world.add_command(server))
    assert done.returncode == 0, done.stdout
    paper_world.loosen(root)
    return root


class Done(NamedTuple):
    """What a run said, and how long each of its stages took."""

    said: str
    seconds: dict[str, float]


def finish(root: Path, folder: Path) -> Done:
    """Let it run to its end, which must be good."""
    lines, seconds, stage, since = [], dict[str, float](), "", time.monotonic()
    with make_paper(root, folder) as process:
        for line in process.stdout or ():
            lines.append(line)
            if match := tiny.STARTED.match(line):
                seconds[stage] = time.monotonic() - since
                stage, since = match[1], time.monotonic()
    seconds[stage] = time.monotonic() - since
    assert process.returncode == 0, "".join(lines[-60:])
    return Done("".join(lines), seconds)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_make_paper_says_what_it_needs_runs_and_is_idle_after_that(
    server: Server, tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    paper_world.publish(server, hanging=True)
    root = checkout(tmp_path, tmp_path / "models", server, project_copy)
    began = time.monotonic()
    said = finish(root, tmp_path).said
    assert time.monotonic() - began < 600
    plan, _, run = said.partition("dvc repro")
    assert "to download" in plan
    assert "weights in float32" in " ".join(plan.split())
    assert "Running stage 'ingest@fixture'" in run
    assert (root / "reports" / NAME / "metrics.json").exists()
    asked = dict(server.asked)
    assert "Running stage" not in finish(root, tmp_path).said
    assert {path: server.asked[path] for path in asked if "pictures" in path} == {
        path: count for path, count in asked.items() if "pictures" in path
    }


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_killed_at_every_step_it_resumes_and_fetches_nothing_twice(
    server: Server, tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    """During the download, the pictures, encoding, tokenizing and fine-tuning; the results are an undisturbed run's."""
    paper_world.publish(server, filler=400_000)
    calm = tmp_path / "calm"
    undisturbed = checkout(calm, tmp_path / "models", server, project_copy)
    seconds = finish(undisturbed, calm).seconds
    content = server.pages[paper_world.PRODUCTS].content
    server.pages = {path: page._replace(fails=0, busy=0, seconds=0.05) for path, page in server.pages.items()}
    server.pages[paper_world.PRODUCTS] = Page(content, seconds=0.05)
    root = checkout(tmp_path / "killed", tmp_path / "models", server, project_copy)
    server.asked.clear()
    server.sent.clear()
    strike(root, tmp_path / "killed", "ingest", lambda: server.sent[paper_world.PRODUCTS] > 100_000)
    strike(root, tmp_path / "killed", "ingest", lambda: server.asked["/pictures/20.jpg"] > 0)
    whole = {path for path in server.pages if "/pictures/" in path and server.asked[path] == 1}
    for stage, share in KILLED.items():
        strike(root, tmp_path / "killed", stage, after(root, stage, share * seconds[stage]))
    finish(root, tmp_path / "killed")
    kept = {path for path in whole if server.pages[path].kind == "image/jpeg" and path != "/pictures/2.jpg"}
    assert len(kept) > 10
    assert all(server.asked[path] <= 2 for path in kept), "only one that was in flight is asked for again"
    assert sum(server.asked[path] > 1 for path in kept) <= CONNECTIONS
    assert server.asked[paper_world.REVIEWS] == 1
    assert server.sent[paper_world.PRODUCTS] < len(content) + 100_000, "continued, not begun anew"
    assert tiny.results(root) == tiny.results(undisturbed)


def strike(root: Path, folder: Path, stage: str, now: Callable[[], bool]) -> None:
    """Start `make paper` and kill all of it at a moment of a stage."""
    running = make_paper(root, folder, subprocess.DEVNULL)
    end = time.monotonic() + 600
    while not now():
        assert running.poll() is None, f"it ended before {stage} was to be killed"
        assert time.monotonic() < end, f"{stage} did not come"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    wait_until(lambda: not list(tiny.processes(root, stage)), 30)


def after(root: Path, stage: str, seconds: float) -> Callable[[], bool]:
    """Whether a stage has been at work for so long."""
    since: list[float] = []

    def reached() -> bool:
        if not since and list(tiny.processes(root, stage)):
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] > seconds

    return reached
