"""Versions, aliases and decisions on a temporary sqlite registry, with a recommender of a few thousand weights."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from mmesid import config, registry, serving, tracking
from mmesid.artifacts.evaluate import load_metrics, load_ranks, save_metrics, save_ranks
from mmesid.artifacts.prepare import load_items, load_pictures, load_sequences, save_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Prepared
from mmesid.errors import ArtifactError, RegistryError
from mmesid.evaluation.ranking import checkpoint_users
from mmesid.registry import evidence, gate, promotion
from mmesid.registry import versions as registry_versions
from mmesid.registry.gate import Clause
from mmesid.registry.versions import registry_lock, requirements
from tests import tiny_world
from tests.tiny_world import DATASET, N_ITEMS

pytestmark = pytest.mark.pipeline
NAME = f"mme-sid-{DATASET}"

# One world whose tests build on each other would hide which one is at fault: the module registers three versions once,
# and every test places the aliases itself.


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    store = tiny_world.make(folder)
    prepared = tiny_world.catalogue()
    for seed in range(3):
        tiny_world.train(store, prepared, seed)
        assert registry.register(DATASET, folder) == str(seed + 1)
    return folder


@pytest.fixture
def mlflow(root: Path) -> Any:
    """A client; no alias is set and no tag of a decision."""
    client = tracking.client(root)
    for alias in ("challenger", "champion", "previous"):
        if registry.version_of(client, DATASET, alias):
            client.delete_registered_model_alias(NAME, alias)
    for version in ("1", "2", "3"):
        for tag in (promotion.MOVE, promotion.ROLLED_BACK, promotion.JUDGED):
            client.set_model_version_tag(NAME, version, tag, "")
    for tag in client.get_registered_model(NAME).tags:
        client.delete_registered_model_tag(NAME, tag)
    tiny_world.evaluate(Store(DATASET, root), seed=2)
    return client


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A client of a world of the test's own, at `tmp_path`, whose one version is registered."""
    tiny_world.make(tmp_path)
    assert registry.register(DATASET, tmp_path) == "1"
    return tracking.client(tmp_path)


@contextmanager
def parameters(root: Path, **sections: dict[str, Any]) -> Iterator[None]:
    """The dataset's own parameters, until the end of the block."""
    path = root / "conf" / f"{DATASET}.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump({**yaml.safe_load(before), **sections}), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def place(client: Any, **aliases: str) -> None:
    for alias, version in aliases.items():
        client.set_registered_model_alias(NAME, alias, version)


def aliases(client: Any) -> dict[str, str]:
    found = {alias: registry.version_of(client, DATASET, alias) for alias in ("challenger", "champion", "previous")}
    return {alias: str(version.version) for alias, version in found.items() if version is not None}


def test_the_same_model_is_registered_once(root: Path, mlflow: Any) -> None:
    assert registry.register(DATASET, root) == "3"
    assert aliases(mlflow) == {"challenger": "3"}
    assert len(mlflow.search_model_versions(f"name = '{NAME}'")) == 3


def test_a_version_tells_what_it_is(root: Path, mlflow: Any) -> None:
    version = mlflow.get_model_version(NAME, "3")
    assert version.description.startswith(f"# {NAME}")
    assert "| SASRec |" in version.description
    assert float(version.tags["test.ndcg_at_10"]) > 0.5
    metrics = mlflow.get_run(version.run_id).data.metrics
    assert metrics["valid.sasrec.hr_at_10"] < metrics["valid.mme_sid.hr_at_10"]
    assert [file.path for file in mlflow.list_artifacts(version.run_id)] == ["README.md"]


@pytest.mark.parametrize(
    "history", [["item-3", "item-9"], "item-3, item-9", np.array(["item-3", "item-9"])], ids=["list", "text", "array"]
)
def test_the_registered_model_answers_in_its_own_words(root: Path, mlflow: Any, history: Any) -> None:
    from mlflow import pyfunc

    model = pyfunc.load_model(f"models:/{NAME}/3")
    answers = model.predict(pd.DataFrame({"history": [history]}), params={"k": 4})
    (expected,) = registry.load_version(mlflow.get_model_version(NAME, "3")).recommend([["item-3", "item-9"]], 4)
    assert list(answers.columns) == ["item_ids", "titles", "scores", "note"]
    assert answers["item_ids"][0] == [item.item_id for item in expected.items]
    np.testing.assert_allclose(answers["scores"][0], [item.score for item in expected.items])
    assert len(model.predict(pd.DataFrame({"history": [history]}))["item_ids"][0]) == 10


def test_the_model_carries_code_and_pins_and_no_pickle(root: Path, mlflow: Any) -> None:
    from mlflow.artifacts import download_artifacts

    folder = Path(download_artifacts(artifact_uri=f"models:/{NAME}/3"))
    assert (folder / "code" / "mmesid" / "serving" / "service.py").exists()
    assert (folder / "requirements.txt").read_text().split() == requirements()
    assert all("==" in line and "+" not in line for line in requirements())
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pt", ".bin")]


def test_the_first_champion_beats_the_baselines(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3")
    record = registry.promote(DATASET, root)
    assert record.passed
    assert {"against sasrec", "against popularity"} <= {clause.name for clause in record.clauses}
    assert aliases(mlflow) == {"challenger": "3", "champion": "3"}
    assert registry.load_champion(DATASET, root).recommend([["item-1"]], 3)[0].items
    assert registry.promote(DATASET, root) == record  # again: nothing new is decided
    assert registry.decisions(DATASET, root)[-1] == record


def test_a_challenger_below_the_baselines_stays_one(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3")
    ranks = load_ranks(Store(DATASET, root))
    ranks.loc[ranks["model"] == "mme_sid", "rank"] = N_ITEMS
    save_ranks(Store(DATASET, root), ranks)
    record = registry.promote(DATASET, root)
    assert not record.passed
    assert aliases(mlflow) == {"challenger": "3"}
    assert mlflow.get_model_version(NAME, "3").tags["mmesid.decision"] == "promotion failed"
    assert registry.decisions(DATASET, root)[-1] == record


def test_the_same_challenger_on_the_same_evidence_is_not_judged_twice(
    root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(mlflow, challenger="3")
    with parameters(root, gate={"min_users": 10**6}):
        record = registry.promote(DATASET, root)
        decisions = registry.decisions(DATASET, root)
        with monkeypatch.context() as patched:
            patched.setattr(promotion, "gather", lambda *arguments: pytest.fail("judged again"))
            assert registry.promote(DATASET, root) == record
        assert registry.decisions(DATASET, root) == decisions
        tiny_world.evaluate(Store(DATASET, root), seed=1)  # other ranks: the evidence has changed
        assert registry.promote(DATASET, root).decided > record.decided
        assert len(registry.decisions(DATASET, root)) == len(decisions) + 1


def test_a_challenger_that_failed_is_judged_by_new_limits(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3")
    with parameters(root, gate={"min_users": 10**6}):
        assert not registry.promote(DATASET, root).passed
    assert registry.promote(DATASET, root).passed


def test_a_volatile_failure_is_not_final(root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place(mlflow, challenger="3")
    seconds = [9.0, 0.1]

    def fast_enough(*arguments: Any) -> list[Clause]:
        observed = seconds.pop(0)
        return [Clause("latency", observed <= 1, observed, 1, f"{observed} s", volatile=True)]

    monkeypatch.setitem(gate.CLAUSES, "fast_enough", fast_enough)
    record = registry.promote(DATASET, root)
    assert [clause.name for clause in record.clauses if not clause.passed] == ["latency"]
    assert not mlflow.get_model_version(NAME, "3").tags[promotion.JUDGED]
    assert registry.promote(DATASET, root).passed  # nothing has changed but the clock


def test_a_change_of_the_gates_code_is_a_change_of_the_evidence(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = config.load(DATASET, root)
    assert {path.name for path in evidence.CODE} >= {"gate.py", "evidence.py", "slices.py", "ranking.py"}
    digests = set()
    for code in ("limit = 1", "limit = 2"):
        (tmp_path / "gate.py").write_text(code)
        monkeypatch.setattr(evidence, "CODE", [tmp_path / "gate.py"])
        digests.add(evidence.evidence_digest(settings, root))
    assert len(digests) == 2


def test_a_better_challenger_replaces_the_champion_and_rollback_brings_it_back(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3", champion="1")
    record = registry.promote(DATASET, root)  # the champion's weights are random: its ranks are chance
    assert record.passed
    assert (record.version, record.champion) == ("3", "1")
    assert aliases(mlflow) == {"challenger": "3", "champion": "3", "previous": "1"}
    assert registry.rollback(DATASET, root).version == "1"
    assert aliases(mlflow) == {"challenger": "3", "champion": "1", "previous": "3"}
    refused = registry.promote(DATASET, root)
    assert not refused.passed
    assert [clause.name for clause in refused.clauses if not clause.passed] == ["not rolled back"]
    with pytest.raises(RegistryError, match=r"version 3, the champion before, was itself replaced.*--to N"):
        registry.rollback(DATASET, root)
    assert aliases(mlflow)["champion"] == "1"
    assert registry.rollback(DATASET, root, 3).version == "3", "what was rolled back by mistake"
    assert aliases(mlflow) == {"challenger": "3", "champion": "3", "previous": "1"}
    with pytest.raises(RegistryError, match="version 1, the champion before, was itself replaced"):
        registry.rollback(DATASET, root)


WRITES = ("set_model_version_tag", "log_text", "set_registered_model_alias", "set_registered_model_tag")


def kill_at(call: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Do it, but end it at one of its writes to MLflow, counted from 0."""
    calls = []

    def crash(function: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            if len(calls) == call:
                raise KeyboardInterrupt
            calls.append(function)
            return function(*arguments, **named)

        return counted

    client = tracking.client(root)
    with monkeypatch.context() as patched:
        for name in WRITES:
            patched.setattr(client, name, crash(getattr(client, name)))
        patched.setattr(promotion.tracking, "client", lambda root: client)
        with pytest.raises(KeyboardInterrupt):
            act()


@pytest.mark.parametrize("call", range(6))
def test_a_crash_at_any_point_of_a_promotion_is_made_good(
    root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    place(mlflow, challenger="3", champion="1")
    decisions = len(registry.decisions(DATASET, root))
    kill_at(call, lambda: registry.promote(DATASET, root), monkeypatch, root)
    assert aliases(mlflow)["champion"] in ("1", "3")
    registry.reconcile(DATASET, root)
    registry.promote(DATASET, root)
    assert aliases(mlflow) == {"challenger": "3", "champion": "3", "previous": "1"}
    assert len(registry.decisions(DATASET, root)) == decisions + 1  # what was not decided left no record
    assert mlflow.get_model_version(NAME, "3").tags["mmesid.decision"] == "promotion passed"
    registry.reconcile(DATASET, root)
    assert aliases(mlflow) == {"challenger": "3", "champion": "3", "previous": "1"}


@pytest.mark.parametrize("call", range(9))
def test_a_crash_at_any_point_of_a_rollback_leaves_it_undone_or_is_made_good(
    root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    place(mlflow, challenger="3", champion="3", previous="1")
    decisions = len(registry.decisions(DATASET, root))
    kill_at(call, lambda: registry.rollback(DATASET, root), monkeypatch, root)
    is_decided = len(registry.decisions(DATASET, root)) > decisions
    assert is_decided == (call > 1), "the tag that names the record, then the record"
    registry.reconcile(DATASET, root)
    refused = [mlflow.get_model_version(NAME, version).tags[promotion.ROLLED_BACK] for version in ("3", "1")]
    assert refused == (["true", "false"] if is_decided else ["", ""])
    assert aliases(mlflow)["champion"] == ("1" if is_decided else "3")


def test_a_rollback_whose_record_cannot_be_written_refuses_and_allows_nothing(
    root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(mlflow, challenger="3", champion="1")
    assert registry.promote(DATASET, root).passed
    registry.rollback(DATASET, root)

    def unwritable(*given: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.tracking.MlflowClient.log_text", unwritable)
        with pytest.raises(OSError, match="Read-only"):
            registry.rollback(DATASET, root, 3)
    assert [clause.name for clause in registry.promote(DATASET, root).clauses if not clause.passed] == [
        "not rolled back"
    ]
    assert mlflow.get_model_version(NAME, "1").tags[promotion.ROLLED_BACK] == "false", "it is still champion"


def test_a_rollback_refuses_the_model_each_time_that_it_was_registered(tmp_path: Path, own: Any) -> None:
    first = own.get_model_version(NAME, "1")
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    assert registry.register(DATASET, tmp_path) == "2"
    again = own.create_model_version(NAME, first.source, first.run_id, tags=first.tags)
    place(own, champion="1", previous="2")
    registry.rollback(DATASET, tmp_path)
    assert own.get_model_version(NAME, again.version).tags[promotion.ROLLED_BACK] == "true"


def test_a_rollback_outlives_the_version_that_it_refused(tmp_path: Path, own: Any) -> None:
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    assert registry.register(DATASET, tmp_path) == "2"
    place(own, champion="2", previous="1")
    registry.rollback(DATASET, tmp_path)
    own.delete_model_version(NAME, "2")
    assert registry.register(DATASET, tmp_path) == "3"
    failed = [clause.name for clause in registry.promote(DATASET, tmp_path).clauses if not clause.passed]
    assert "not rolled back" in failed
    assert aliases(own)["champion"] == "1"


def test_what_was_refused_is_never_told_by_the_record_of_a_rollback(tmp_path: Path, own: Any) -> None:
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    assert registry.register(DATASET, tmp_path) == "2"
    place(own, champion="1")
    assert registry.promote(DATASET, tmp_path).passed
    registry.rollback(DATASET, tmp_path)
    assert not registry.promote(DATASET, tmp_path).passed
    registry.rollback(DATASET, tmp_path, 2)
    registry.rollback(DATASET, tmp_path, 1)
    told = registry.promote(DATASET, tmp_path)
    assert (told.kind, told.passed) == ("promotion", False)
    assert aliases(own)["champion"] == "1"


@pytest.mark.parametrize("act", [registry.promote, registry.rollback])
def test_a_decision_happens_though_another_checkout_clears_up_meanwhile(
    act: Any, root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(mlflow, challenger="3", champion="1", previous="3")
    log_text = type(mlflow).log_text

    def cleared_up(*given: Any) -> None:
        promotion._finish_moves(tracking.client(root), DATASET)  # under a lock of its own
        log_text(*given)

    monkeypatch.setattr(type(mlflow), "log_text", cleared_up)
    assert act(DATASET, root).passed
    assert aliases(mlflow)["champion"] == "3"


def test_a_move_that_is_due_happens_though_the_former_champion_was_deleted(
    tmp_path: Path, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    assert registry.register(DATASET, tmp_path) == "2"
    place(own, champion="1")
    kill_at(2, lambda: registry.promote(DATASET, tmp_path), monkeypatch, tmp_path)
    own.delete_model_version(NAME, "1")
    registry.reconcile(DATASET, tmp_path)
    assert aliases(own) == {"challenger": "2", "champion": "2"}


def test_what_was_decided_before_a_crash_happens_though_another_challenger_came(
    root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(mlflow, challenger="3", champion="1")
    kill_at(2, lambda: registry.promote(DATASET, root), monkeypatch, root)
    place(mlflow, challenger="2")
    registry.reconcile(DATASET, root)
    assert aliases(mlflow) == {"challenger": "2", "champion": "3", "previous": "1"}


def test_a_record_that_a_kill_cut_short_is_none(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3", champion="1")
    version = mlflow.get_model_version(NAME, "3")
    decisions = registry.decisions(DATASET, root)
    path = f"decisions/{len(mlflow.list_artifacts(version.run_id, 'decisions')) + 1:03d}-promotion.json"
    mlflow.set_model_version_tag(NAME, "3", promotion.MOVE, path)
    mlflow.log_text(version.run_id, '{"dataset": "sam', path)
    registry.reconcile(DATASET, root)
    assert registry.decisions(DATASET, root) == decisions
    assert aliases(mlflow) == {"challenger": "3", "champion": "1"}
    assert registry.promote(DATASET, root).passed
    assert aliases(mlflow) == {"challenger": "3", "champion": "3", "previous": "1"}


def test_a_model_is_not_judged_by_the_ranks_of_another(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="2")
    with pytest.raises(RegistryError, match=r"trained another model since: `mmesid register sample`"):
        registry.promote(DATASET, root)
    assert aliases(mlflow) == {"challenger": "2"}


AT_ONCE = """
import sys
from pathlib import Path
from mmesid import registry, tracking
from mmesid.errors import RegistryError
from mmesid.evaluation.ranking import checkpoint_users
root = Path(sys.argv[2])
tracking.client(root)
print("ready", flush=True)
try:
    record = getattr(registry, sys.argv[1])("sample", root)
    print(record.kind, record.version, record.passed, record.decided)
except RegistryError as error:
    print(error)
"""


def at_once(root: Path, *acts: str) -> list[str]:
    """Output of processes that change the registry at the same moment: all wait for one lock first."""
    environment = {**os.environ, "PYTHONPATH": f"{tiny_world.PROJECT / 'src'}"}
    commands = [[sys.executable, "-c", AT_ONCE, act, str(root)] for act in acts]
    with ExitStack() as stack:
        with registry_lock(DATASET, root):
            started = [
                stack.enter_context(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
                for command in commands
            ]
            for process in started:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
        return [process.communicate(timeout=120)[0].strip() for process in started]


def test_two_promotions_at_the_same_moment_are_one_decision(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3", champion="1")
    decisions = registry.decisions(DATASET, root)
    first, second = at_once(root, "promote", "promote")
    assert first == second  # the later one finds the challenger promoted, and shows when that was decided
    assert first.startswith("promotion 3 True")
    assert len(registry.decisions(DATASET, root)) == len(decisions) + 1
    assert aliases(mlflow) == {"challenger": "3", "champion": "3", "previous": "1"}


def test_a_promotion_and_a_rollback_at_the_same_moment_happen_one_after_the_other(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3", champion="2", previous="1")
    decisions = registry.decisions(DATASET, root)
    at_once(root, "promote", "rollback")
    assert len(registry.decisions(DATASET, root)) == len(decisions) + 2
    promoted_first = {"challenger": "3", "champion": "2", "previous": "3"}
    rolled_back_first = {"challenger": "3", "champion": "3", "previous": "1"}
    assert aliases(mlflow) in (promoted_first, rolled_back_first)


def champion_ranks(root: Path, champion: Any) -> np.ndarray:
    ranks = evidence.gather(config.load(DATASET, root), root, champion).champion
    assert ranks is not None
    return ranks


def test_the_champion_is_judged_on_the_current_data(root: Path, mlflow: Any) -> None:
    store = Store(DATASET, root)
    items, sequences, pictures = load_items(store), load_sequences(store), load_pictures(store)
    champion = mlflow.get_model_version(NAME, "1")
    before = champion_ranks(root, champion)
    strange = items.assign(item_id=[f"new-{number}" for number in range(N_ITEMS)])
    try:
        save_prepared(store, Prepared(sequences, strange, pictures))
        after = champion_ranks(root, champion)
    finally:
        save_prepared(store, Prepared(sequences, items, pictures))
    histories = sequences.history("valid")
    users = ~checkpoint_users(sequences.user_ids)
    last = [N_ITEMS - len(set(history)) for history, chosen in zip(histories, users, strict=True) if chosen]
    assert after.tolist() == last  # it knows none of the items: every target is behind every other candidate
    assert len(set(before.tolist())) > 10


def test_a_model_is_registered_as_it_was_made_whatever_stands_in_conf_by_now(tmp_path: Path) -> None:
    tiny_world.make(tmp_path)
    resolved, rank = config.resolved_path(DATASET, tmp_path), config.load(DATASET, tmp_path).finetune.rank
    resolved.parent.mkdir()
    resolved.write_text(config.resolved_text(DATASET, tmp_path), encoding="utf-8")
    with parameters(tmp_path, protocol={"exclude_history": False}, finetune={"rank": rank + 1}):
        registry.register(DATASET, tmp_path)
        registry.promote(DATASET, tmp_path)
    champion = registry.champion_of(DATASET, tmp_path)
    assert registry.load_version(champion).exclude_history
    assert f"LoRA rank {rank}\n" in champion.description


def test_ranks_under_another_protocol_decide_nothing(own: Any, tmp_path: Path) -> None:
    store = Store(DATASET, tmp_path)
    other = config.load(DATASET, tmp_path).protocol.model_dump() | {"exclude_history": False}
    save_metrics(store, {**load_metrics(store), "protocol": other})
    for command in (registry.register, registry.promote):
        with pytest.raises(ArtifactError, match=r"was evaluated under the protocol .*`make repro DATASETS=sample`"):
            command(DATASET, tmp_path)


def test_the_champion_is_judged_under_the_current_protocol(root: Path, mlflow: Any) -> None:
    champion = mlflow.get_model_version(NAME, "1")
    ranks = champion_ranks(root, champion)
    with parameters(root, protocol={"exclude_history": False}):
        assert (champion_ranks(root, champion) >= ranks).all()  # more candidates
        assert (champion_ranks(root, champion) > ranks).any()
    with parameters(root, protocol={"history_length": 2}):
        assert (champion_ranks(root, champion) != ranks).any()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (registry.promote, "no challenger"),
        (registry.rollback, "no previous champion to roll back to"),
        (registry.load_champion, "no champion"),
    ],
)
def test_what_cannot_be_done_is_said(root: Path, mlflow: Any, act: Any, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        act(DATASET, root)


def test_a_rollback_goes_only_to_what_has_been_champion_and_is_whole(tmp_path: Path, own: Any) -> None:
    for version, message in ((1, "has never been champion"), (9, "does not exist")):
        with pytest.raises(RegistryError, match=f"{NAME} version {version} {message}; `mmesid history"):
            registry.rollback(DATASET, tmp_path, version)
    assert registry.version_of(own, DATASET, "champion") is None
    assert registry.promote(DATASET, tmp_path).passed
    with pytest.raises(RegistryError, match="version 1 is the champion already"):
        registry.rollback(DATASET, tmp_path, 1)
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    place(own, champion=registry.register(DATASET, tmp_path), previous="1")
    spoil(next(weights(tmp_path)))
    with pytest.raises(RegistryError, match=r"version 1, the previous champion, has lost its files: .* are damaged"):
        registry.rollback(DATASET, tmp_path)
    assert aliases(own)["champion"] == "2"


def test_a_damaged_record_is_lost_and_its_version_has_been_champion(tmp_path: Path, own: Any) -> None:
    assert registry.promote(DATASET, tmp_path).passed
    own.delete_registered_model_alias(NAME, "champion")
    version = own.get_model_version(NAME, "1")
    for text in ("", "[]", "null", '{"dataset": "sample"}', '{"clauses": [{"a": 1}]}', '{"clauses": null}'):
        own.log_text(version.run_id, text, "decisions/001-promotion.json")
        assert "the record of this decision is lost" in registry.history(DATASET, tmp_path)
    assert registry.rollback(DATASET, tmp_path, 1).version == "1"


def test_a_champion_by_hand_has_been_champion(tmp_path: Path, own: Any) -> None:
    assert registry.promote(DATASET, tmp_path).passed
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    place(own, champion=registry.register(DATASET, tmp_path), previous="1")
    with pytest.raises(RegistryError, match="version 2 is the champion already"):
        registry.rollback(DATASET, tmp_path, 2)
    assert registry.rollback(DATASET, tmp_path).version == "1"
    assert registry.rollback(DATASET, tmp_path, 2).version == "2", "no decision made it champion, and one replaced it"


@pytest.mark.parametrize("to", [None, 1])
def test_a_champion_that_was_deleted_is_followed_by_the_one_before(to: int | None, tmp_path: Path, own: Any) -> None:
    place(own, previous="1")
    assert registry.promote(DATASET, tmp_path).passed
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    place(own, champion=registry.register(DATASET, tmp_path), previous="1")
    own.delete_model_version(NAME, "2")  # as in MLflow's pages, which take its aliases away as well
    assert "version 1 is champion again** (there is no champion" in registry.describe(
        registry.rollback(DATASET, tmp_path, to)
    )
    assert aliases(own)["champion"] == "1"
    with pytest.raises(RegistryError, match="version 1 is the champion already"):
        registry.rollback(DATASET, tmp_path)


def test_a_champion_that_this_code_cannot_read_is_no_loss_of_files(
    tmp_path: Path, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_form(*given: Any) -> None:
        raise TypeError("from_json() got an unexpected keyword argument")

    place(own, champion="1")
    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    registry.register(DATASET, tmp_path)
    monkeypatch.setattr(serving, "load", other_form)
    for act in (registry.load_champion, registry.promote):
        with pytest.raises(
            RegistryError, match=r"the champion, cannot be loaded here \(TypeError.*its alias `champion`"
        ):
            act(DATASET, tmp_path)
    own.delete_registered_model_alias(NAME, "champion")
    assert registry.promote(DATASET, tmp_path).passed


def weights(root: Path) -> Iterator[Path]:
    """Of what was registered, the oldest version first."""
    found = (root / "mlruns" / "artifacts").rglob("bundle/**/*.safetensors")
    return iter(sorted(found, key=lambda path: path.stat().st_mtime_ns))


def spoil(path: Path) -> None:
    """Zeros where the numbers stood, behind a header that is whole."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:start] + bytes(len(content) - start))


def test_a_version_whose_files_are_gone_is_named(root: Path, mlflow: Any, tmp_path: Path) -> None:
    broken = mlflow.create_model_version(NAME, str(tmp_path), None)
    try:
        with pytest.raises(RegistryError, match=f"{NAME} version {broken.version} cannot be loaded here"):
            registry.load_version(broken)
    finally:
        mlflow.delete_model_version(NAME, broken.version)


def test_a_model_whose_files_are_lost_is_registered_anew_and_what_was_refused_stays_refused(
    tmp_path: Path, own: Any
) -> None:
    place(own, champion="1")
    own.set_model_version_tag(NAME, "1", promotion.ROLLED_BACK, "true")
    (tmp_path / "mlruns" / "artifacts").rename(tmp_path / "mlruns" / "artifacts.lost")
    for act in (registry.promote, registry.load_champion):
        with pytest.raises(RegistryError, match=r"version 1.* has lost its files.*`mmesid register sample`"):
            act(DATASET, tmp_path)
    champion = registry.champion_of(DATASET, tmp_path)
    with pytest.raises(RegistryError, match=r"the champion, has lost its files.*mmesid rollback sample"):
        registry.check_files(own, champion, "champion")

    assert registry.register(DATASET, tmp_path) == "2"
    assert registry.register(DATASET, tmp_path) == "2"
    record = registry.promote(DATASET, tmp_path)  # against itself, since version 1 is the same model
    assert not record.passed
    assert [clause.name for clause in record.clauses if not clause.passed] == ["not rolled back"]
    assert aliases(own)["champion"] == "1"

    tiny_world.train(Store(DATASET, tmp_path), tiny_world.catalogue(), 7)
    registry.register(DATASET, tmp_path)
    with pytest.raises(RegistryError, match="Nothing can be judged against it"):
        registry.promote(DATASET, tmp_path)
    assert aliases(own)["champion"] == "1"


def test_what_was_refused_stays_so_though_a_kill_ends_its_registration(
    tmp_path: Path, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.set_model_version_tag(NAME, "1", promotion.ROLLED_BACK, "true")
    (tmp_path / "mlruns" / "artifacts").rename(tmp_path / "mlruns" / "artifacts.lost")

    def killed(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for method in ("set_model_version_tag", "set_registered_model_alias"):  # whatever comes after the new version
            patch.setattr(f"mlflow.tracking.MlflowClient.{method}", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.register(DATASET, tmp_path)
    assert registry.register(DATASET, tmp_path) == "2", "the version is whole, only its alias was not set"
    refused = [clause.name for clause in registry.promote(DATASET, tmp_path).clauses if not clause.passed]
    assert "not rolled back" in refused


def test_what_may_not_be_read_is_no_loss(tmp_path: Path, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place(own, champion="1")

    def forbidden(*given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "mlruns/artifacts/x")

    monkeypatch.setattr("mlflow.store.artifact.local_artifact_repo.LocalArtifactRepository.list_artifacts", forbidden)
    for act in (registry.load_champion, registry.register):
        with pytest.raises(RegistryError, match="version 1: mlruns/artifacts/x cannot be written or read") as told:
            act(DATASET, tmp_path)
        assert "lost" not in str(told.value)
    assert len(own.search_model_versions(f"name = '{NAME}'")) == 1


def test_a_server_that_fails_has_lost_nothing(tmp_path: Path, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place(own, champion="1")

    def failing(*given: object) -> None:
        raise MlflowException("API request failed: too many 503 error responses", error_code=TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr("mlflow.store.artifact.local_artifact_repo.LocalArtifactRepository.list_artifacts", failing)
    for act in (registry.load_champion, registry.register, registry.promote):
        with pytest.raises(MlflowException, match="503"):
            act(DATASET, tmp_path)
    assert len(own.search_model_versions(f"name = '{NAME}'")) == 1


def test_what_was_fetched_to_be_loaded_does_not_stay(tmp_path: Path, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "aside"))
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr("mmesid.registry.files.local", lambda place: None)  # as if it lay in a bucket
    service = registry.load_version(own.get_model_version(NAME, "1"))
    assert service.recommend([["item-3"]], 2)[0].items
    assert not list((tmp_path / "aside").iterdir())


def test_a_champion_that_was_placed_by_hand_is_told_so(root: Path, mlflow: Any) -> None:
    mlflow.set_model_version_tag(NAME, "1", promotion.OUTCOME, "none")
    place(mlflow, challenger="1", champion="1")
    tiny_world.train(Store(DATASET, root), tiny_world.catalogue(), 0)
    try:
        told = registry.promote(DATASET, root)
    finally:
        tiny_world.train(Store(DATASET, root), tiny_world.catalogue(), 2)
    assert told.passed
    assert "version 1 was made champion by hand" in registry.describe(told)
    place(mlflow, challenger="3", champion="1")
    decided = registry.promote(DATASET, root)
    assert registry.promote(DATASET, root) == decided, "what a decision made champion is told by it"


def test_damage_that_leaves_sizes_alone_is_found_and_registered_anew(tmp_path: Path, own: Any) -> None:
    place(own, champion="1")
    for path in weights(tmp_path):
        spoil(path)
    with pytest.raises(RegistryError, match=r"the champion, has lost its files: .* are damaged"):
        registry.load_champion(DATASET, tmp_path)
    assert registry.register(DATASET, tmp_path) == "2"
    assert registry.promote(DATASET, tmp_path).version == "2"
    place(own, champion="2")
    registry.load_champion(DATASET, tmp_path)


def test_a_version_whose_run_is_deleted_for_good_is_lost_and_the_rest_goes_on(tmp_path: Path, own: Any) -> None:
    run_id = own.get_model_version(NAME, "1").run_id
    own.delete_run(run_id)
    own._tracking_client.store._hard_delete_run(run_id)  # as `mlflow gc` does it
    with pytest.raises(RegistryError, match=r"has lost its files: MLflow does not find its model or its run"):
        registry.promote(DATASET, tmp_path)
    assert "no decision on sample yet" in registry.history(DATASET, tmp_path)
    assert registry.register(DATASET, tmp_path) == "2"
    registry.promote(DATASET, tmp_path)


@pytest.mark.parametrize("stage", ["init_codes", "finetune", "fuse"])
def test_what_a_stopped_run_left_is_not_registered(stage: str, root: Path, mlflow: Any, tmp_path: Path) -> None:
    folder = Store(DATASET, root).folder(stage)
    folder.rename(tmp_path / stage)
    try:
        with pytest.raises(ArtifactError, match=rf"{stage} lacks .*: a run was stopped there.*make repro"):
            registry.register(DATASET, root)
    finally:
        (tmp_path / stage).rename(folder)
    assert len(mlflow.search_model_versions(f"name = '{NAME}'")) == 3


def test_a_model_that_loses_files_while_it_is_registered_is_no_version(
    root: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = registry_versions._log_pyfunc

    def swept(bundle: Path) -> str:
        model_id = sent(bundle)
        place = mlflow.get_logged_model(model_id).artifact_location.removeprefix("file://")
        next(Path(place).rglob("*.safetensors")).unlink()
        return model_id

    monkeypatch.setattr(registry_versions, "_log_pyfunc", swept)
    tiny_world.train(Store(DATASET, root), tiny_world.catalogue(), 8)
    try:
        with pytest.raises(RegistryError, match=r"1 of \d+ files did not arrive whole in .*safetensors"):
            registry.register(DATASET, root)
    finally:
        tiny_world.train(Store(DATASET, root), tiny_world.catalogue(), 2)
    assert len(mlflow.search_model_versions(f"name = '{NAME}'")) == 3
    assert aliases(mlflow) == {}


def test_a_lost_record_neither_moves_an_alias_nor_passes_for_a_success(root: Path, mlflow: Any) -> None:
    place(mlflow, challenger="3", champion="2")
    with parameters(root, gate={"max_collisions": 0.0}):
        refused = registry.promote(DATASET, root)
        assert not refused.passed
        run = mlflow.get_run(mlflow.get_model_version(NAME, "3").run_id).info.artifact_uri.removeprefix("file://")
        for record in (Path(run) / "decisions").iterdir():
            record.unlink()
        assert "the record of this decision is lost" in registry.history(DATASET, root)
        assert not registry.promote(DATASET, root).passed
    assert aliases(mlflow)["champion"] == "2"
