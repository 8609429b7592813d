"""The harness of the benchmarks: sides take turns, medians, files, child processes, memory, exclusive seconds."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import measure, memory, stage_child


def test_sides_take_turns_and_the_warm_up_does_not_count() -> None:
    now, order = [0.0], []

    def side(name: str, seconds: float) -> measure.Side:
        def turn(number: int) -> float:
            order.append(f"{name}{number}")
            now[0] += 100.0 if number == 0 else seconds * number
            return 12.0

        return turn

    rates = measure.interleave([side("a", 1), side("b", 2)], runs=3, warmup=1, clock=lambda: now[0])
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]
    assert rates == [[12.0, 6.0, 4.0], [6.0, 3.0, 2.0]]


def test_a_comparison_takes_medians_and_keeps_the_spread() -> None:
    result = measure.comparison("name", "x/s", [[10.0, 30.0, 1000.0], [10.0, 20.0, 5.0]], "a", "b", extra=1)
    assert (result["a"], result["b"], result["ratio"]) == (30.0, 10.0, 3.0)
    assert (result["ratio_low"], result["ratio_high"]) == (1.0, 200.0)
    assert (result["runs"], result["extra"]) == (3, 1)


@pytest.mark.parametrize("path", sorted(Path(measure.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_can_be_imported(path: Path) -> None:
    """Those that need a GPU or hours run nowhere else in the tests."""
    importlib.import_module(f"benchmarks.{path.stem}")


def test_one_side_or_a_result_without_its_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two sides"):
        measure.interleave([lambda turn: 1.0], runs=1)
    with pytest.raises(ValueError, match="ratio"):
        measure.write({"name": "x"}, tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_quick_writes_only_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    seen = []

    def fake(quick: bool) -> measure.Result:
        seen.append(quick)
        return measure.comparison("fake", "x/s", [[2.0], [1.0]], "a", "b")

    measure.command_line("fake", fake, None, ["--quick"])
    assert not (tmp_path / "results").exists()
    measure.command_line("fake", fake, None, ["--quick", "--output", str(tmp_path / "told.json")])
    measure.command_line("fake", fake, None, [])
    assert seen == [True, True, False]
    assert (tmp_path / "told.json").read_bytes() == (tmp_path / "results" / "fake.json").read_bytes()


def test_a_child_answers_and_its_failure_is_told() -> None:
    assert memory.isolated("json:loads", s='{"answer": 42}') == {"answer": 42}
    with pytest.raises(RuntimeError, match="JSONDecodeError"):
        memory.isolated("json:loads", s="{")


def test_peak_memory_is_that_of_the_work() -> None:
    bytearray(300_000_000)[:1]  # what came before does not count
    assert memory.peak_of(lambda: bytearray(64 * 2**20)) == pytest.approx(64, abs=8)


def test_what_artifacts_take_is_booked_whichever_module_loads(tmp_path: Path) -> None:
    code = (
        "from benchmarks.stage_child import ARTIFACTS, Ledger, watch\n"
        "ledger = Ledger()\n"
        "watch(ledger)\n"
        "from mmesid.artifacts.curves import load_curves, save_curves\n"
        "from mmesid.artifacts.store import Store\n"
        "save_curves(Store('a'), 'tokenize', [{'step': 1.0}])\n"
        "before = ledger.seconds[ARTIFACTS]\n"
        "load_curves(Store('a'), 'tokenize')\n"
        "assert 0 < before < ledger.seconds[ARTIFACTS]\n"
    )
    path = os.pathsep.join([str(measure.ROOT), str(measure.ROOT / "src")])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True)


def test_exclusive_seconds_add_up() -> None:
    now = [0.0]

    def work(seconds: float, inner: Callable[[], object] = lambda: None) -> Callable[[], object]:
        def function() -> object:
            now[0] += seconds
            return inner()

        return function

    ledger = stage_child.Ledger(clock=lambda: now[0])
    late = ledger.timed("import", work(1.0, ledger.timed("import", work(0.5))))
    load = ledger.timed("artifacts", work(2.0, late))
    ledger.timed("compute", work(4.0, load))()
    assert ledger.seconds == {"import": 1.5, "artifacts": 2.0, "compute": 4.0}
