"""The benchmarks: every one runs at tiny size, and the sides of a comparison compute the same thing."""

import http.server
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    encoding,
    equal_steps,
    evaluate,
    loss_memory,
    measure,
    packed_vs_authors,
    packed_vs_padded,
    plots,
    render,
    scaling,
    serving,
    stages,
    steps,
    training,
    worlds,
)

pytestmark = pytest.mark.pipeline

RELATIVE = 1e-4
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world() -> worlds.World:
    """The quick world without dropout, its adapters away from their start, where half of their gradients are zero."""
    built = worlds.build(worlds.QUICK._replace(dropout=False))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in built.model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
    return built


@pytest.fixture(scope="module")
def results() -> dict[str, measure.Result]:
    """Every benchmark that needs no other process, tiny."""
    size = worlds.QUICK
    return {
        "packed_vs_padded": packed_vs_padded.compare(size, runs=2, steps_each=1),
        "packed_vs_authors": packed_vs_authors.compare(size, runs=2, steps_each=1, targets=6),
        "evaluate": evaluate.compare(size, runs=2, users=30, single_users=4),
        "loss_memory": loss_memory.compare(size, (50, 80), runs=1, apart=False),
        "scaling": scaling.sweep(size, {"items": (50, 80)}, runs=1, apart=False),
        "encoding": encoding.compare(encoding.QUICK),
        "serving": serving.result({name: serving.Loop(1.0, [0.01, 0.02]) for name in serving.CONNECTIONS}, "sample", 1),
        "stages": stages.result({"sample": [stage_row("ingest", 1.0), stage_row("prepare", 2.0)]}),
    }


def stage_row(stage: str, seconds: float) -> stages.Report:
    report = {"interpreter": 0.1, "import": 0.2, "artifacts": 0.1, "compute": 0.3, "cpu": 0.7, "peak_mib": 100.0}
    return stages.split(stage, seconds, report)


def gradients(world: worlds.World, way: Callable[[], float]) -> tuple[float, dict[str, torch.Tensor]]:
    world.model.zero_grad(set_to_none=True)
    loss = way()
    named = [(name, p) for name, p in world.model.named_parameters() if p.requires_grad]
    return loss, {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}


def distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The worst parameter's relative error; what is tiny in both counts against the whole gradient's scale."""
    floor = 1e-4 * max(float(gradient.norm()) for gradient in expected.values())
    return max(
        float((found[name] - gradient).norm() / gradient.norm().clamp(min=floor)) for name, gradient in expected.items()
    )


def unpacked(world: worlds.World, windows: list[steps.Window]) -> dict[str, Callable[[], float]]:
    return {
        "padded, one batch": lambda: steps.padded(world.model, windows),
        "padded, many batches": lambda: steps.padded(world.model, windows, rows=5),
        "authors": lambda: steps.authors(world.model, windows),
    }


def test_the_three_ways_give_the_same_loss_and_gradients(world: worlds.World) -> None:
    windows = max(world.steps(), key=len)
    assert len({len(example.items) for example in steps.prefixes(windows)}) > 2  # else nothing would be padded
    loss, expected = gradients(world, lambda: steps.packed(world.model, windows, world.settings.row_tokens))
    idle = {name.rpartition(".")[2] for name, gradient in expected.items() if not gradient.any()}
    assert idle == {"nothing"}  # the vector of items without any content: none lacks all
    for name, way in unpacked(world, windows).items():
        found_loss, found = gradients(world, way)
        assert found_loss == pytest.approx(loss, rel=1e-5), name
        assert distance(found, expected) < RELATIVE, name


@pytest.mark.parametrize("mistake", ["an item too few", "a token too early", "the mean of batches"])
def test_the_comparison_of_gradients_sees_a_mistake(
    world: worlds.World, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = max(world.steps(), key=len)
    _, expected = gradients(world, lambda: steps.packed(world.model, windows, world.settings.row_tokens))
    right, represent, backward = steps.prefixes, steps.represent, steps._backward
    if mistake == "an item too few":
        shorter = [example._replace(items=example.items[-3:]) for example in right(windows)]
        monkeypatch.setattr(steps, "prefixes", lambda windows: shorter)
    elif mistake == "a token too early":
        monkeypatch.setattr(steps, "represent", lambda model, items: represent(model, [part[:-1] for part in items]))
    else:
        monkeypatch.setattr(steps, "_backward", lambda hidden, items, batch, targets: backward(hidden, items, batch, 5))
    for name, way in unpacked(world, windows).items():
        assert distance(gradients(world, way)[1], expected) > 100 * RELATIVE, name


def test_equal_steps_without_dropout_are_equal(world: worlds.World) -> None:
    """The two trainers of `equal_steps` differ in nothing but the rows."""
    settings = world.settings.model_copy(update={"epochs": 2})
    how = settings, world.protocol, 0, lambda metrics, step: None
    curves = [
        kind(*worlds.fresh(worlds.QUICK), *how).fit(lambda state: None)
        for kind in (equal_steps.Trainer, equal_steps.PaddedTrainer)
    ]
    for row, other in zip(*curves, strict=True):
        assert row == pytest.approx(other, rel=1e-3)


def test_every_result_has_the_promised_keys(results: dict[str, measure.Result], tmp_path: Path) -> None:
    for name, result in results.items():
        measure.write(result, tmp_path / f"{name}.json")
        read = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert set(measure.KEYS) <= set(read)
        assert read["name"] == name
        assert read["ratio"] == pytest.approx(read["a"] / read["b"], rel=2e-3)
        assert str(ROOT) not in json.dumps(read)


def test_a_step_computes_far_fewer_tokens_when_packed(results: dict[str, measure.Result]) -> None:
    tokens = results["packed_vs_padded"]["tokens_per_target"]
    assert tokens["b"] > 5 * tokens["a"]


def test_the_lengths_are_those_of_every_user_of_beauty() -> None:
    sequences = worlds.draw_sequences(worlds.Size(), np.random.default_rng(0))
    taken = np.sort(np.bincount(np.concatenate(sequences.items), minlength=sequences.n_items + 1)[1:])
    assert len(sequences.items) == 22_332
    assert taken.sum() == 198_215
    assert min(map(len, sequences.items)) == 5
    assert taken[-1] > 20 * np.median(taken)  # a few items are taken often, most seldom


def test_fewer_targets_are_whole_windows_from_the_start(world: worlds.World) -> None:
    windows = next(world.steps())
    some = training.first_targets(windows, 6)
    assert some == windows[: len(some)]
    assert sum(len(window.labels) for window in some[:-1]) < 6 <= sum(len(window.labels) for window in some)
    assert training.first_targets(windows, None) == windows


def test_a_list_in_another_order_is_refused() -> None:
    lists = np.array([[3, 1, 2], [4, 5, 6]])
    evaluate.demand_equal(lists, lists.copy())
    with pytest.raises(RuntimeError, match="1 of 2 lists differ, the first of user 1"):
        evaluate.demand_equal(lists, np.array([[3, 1, 2], [4, 6, 5]]))


def test_a_stage_runs_in_a_copy_and_its_parts_make_its_wall_time() -> None:
    result = stages.run(["sample"], None, quick=True)
    first, row = result["tables"]["sample"]
    assert (first["stage"], row["stage"]) == ("configure", "ingest")
    assert row["seconds"] == pytest.approx(sum(row[part] for part in stages.PARTS), rel=1e-6)
    assert min(row["import"], row["artifacts"], row["compute"]) > 0
    assert row["peak_mib"] > 20
    assert math.isfinite(result["ratio"])


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no stage finetunes; dvc\.yaml has configure, ingest"):
        stages.run(["sample"], ["finetunes"], quick=True)


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers after a hundredth of a second, one request at a time; a body that is no JSON gets 400."""

    protocol_version = "HTTP/1.1"
    one = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.one:
            time.sleep(0.01)
        self.send_response(200 if body.startswith(b"{") else 400)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *given: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_a_connection_asks_again_once_it_is_answered(port: int) -> None:
    loop = serving.ask(port, [b"{}"], seconds=0.3, connections=1)
    assert min(loop.latencies) >= 0.01
    assert len(loop.latencies) <= 31


def test_requests_that_are_due_come_at_their_rate_and_waiting_counts(port: int) -> None:
    easy = serving.ask(port, [b"{}"], seconds=0.5, connections=8, rate=20)
    assert len(easy.latencies) == 11  # the first at once, the last at the end
    crowded = serving.ask(port, [b"{}"], seconds=0.3, connections=8, rate=300)  # a hundred a second can be answered
    assert serving.summary(crowded)["p50_ms"] > 5 * serving.summary(easy)["p50_ms"]


def test_an_answer_that_is_none_is_told(port: int) -> None:
    with pytest.raises(RuntimeError, match="answered with 400"):
        serving.ask(port, [b"nothing"], seconds=0.1, connections=1)


def test_rendering_twice_changes_nothing(results: dict[str, measure.Result], tmp_path: Path) -> None:
    folder, images, page = tmp_path / "results", tmp_path / "img", tmp_path / "page.md"
    for name, result in results.items():
        measure.write(result, folder / f"{name}.json")
    (folder / "other.json").write_text('{"dataset": "sample"}')  # a result of another kind is left alone
    page.write_text((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), encoding="utf-8")
    render.render(folder, page, images)
    first = {path.name: path.read_bytes() for path in [page, *images.iterdir()]}
    render.render(folder, page, images)
    assert {path.name: path.read_bytes() for path in [page, *images.iterdir()]} == first
    assert set(first) == {"page.md", *(f"bench_{name}.svg" for name in plots.PLOTS)}
    text = page.read_text(encoding="utf-8")
    assert "Not measured yet" not in text
    assert all(f"python -m benchmarks.{name}" in text for name in results)


def test_every_point_of_how_cost_grows_is_within_its_plot() -> None:
    tables = {
        axis: [{"value": value, "targets_per_second": value, "peak_mib": 2 * value} for value in values]
        for axis, values in {"length": (5, 10), "items": (100, 1000), "width": (64, 128)}.items()
    }
    for panel in plots.scaling({"scaling": {"tables": tables}}).axes:
        bottom, top = panel.get_ylim()
        assert all(bottom <= number <= top for line in panel.lines for number in line.get_ydata())
        assert bottom == 0


def test_a_missing_result_is_named_and_a_page_without_places_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench evaluate -->\nold\n<!-- /bench -->\nafter\n")
    render.render(tmp_path, page, tmp_path)
    expected = "Not measured yet: `python -m benchmarks.evaluate`."
    assert page.read_text() == f"before\n<!-- bench evaluate -->\n{expected}\n<!-- /bench -->\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="to fill"):
        render.render(tmp_path, page, tmp_path)


def test_the_page_and_the_makefile_name_every_benchmark() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = make.split("BENCHES :=")[1].split("#")[0].split()
    assert {*render.COMPARISONS, "encoding", "scaling", "serving", "stages"} <= set(listed)
    assert all(f"<!-- bench {name} -->" in page for name in render.BLOCKS)
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in listed)
