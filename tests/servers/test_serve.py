"""What `mmesid serve` refuses, and what the served champion and the batch flow answer."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from mmesid import registry, tracking
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.errors import RegistryError, ServiceError
from mmesid.evaluation.ranking import best
from mmesid.fusion.fused import Fused
from mmesid.models import MAIN_MODEL
from mmesid.recommender import loading
from mmesid.recommender.inference import Scorer
from mmesid.servers import serve
from tests import ports, tiny_world
from tests.tiny_world import DATASET, N_ITEMS

pytestmark = pytest.mark.timeout(600)  # a server starts in a fraction of that, unless the machine is busy


def test_only_loopback_is_served(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"--host 0\.0\.0\.0 can be reached by others"):
        serve.check(DATASET, "0.0.0.0", 8000, tmp_path)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceError, match=f"--port {taken.getsockname()[1]}"):
            serve.check(DATASET, "127.0.0.1", taken.getsockname()[1], tmp_path)


ENDING = """
import os, sys
from pathlib import Path
from mmesid.servers.serve import run_until_interrupted
print(run_until_interrupted([sys.executable, "-c", sys.argv[1]], os.environ, Path()), flush=True)
"""
SERVER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVER}"


@pytest.mark.parametrize(("server", "interrupts"), [(SERVER, 1), (STUBBORN, 2)], ids=["once", "twice"])
def test_ctrl_c_ends_the_server_and_a_second_one_at_once(server: str, interrupts: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tiny_world.PROJECT / "src")}
    command = [sys.executable, "-c", ENDING, server]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        assert served.stdout.readline() == "up\n"
        started = time.monotonic()
        for _ in range(interrupts):
            served.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert served.stdout.read() == "None\n"
        assert time.monotonic() - started < serve.GRACE


SLOW = """
import asyncio
def app():
    async def answer(scope, receive, send):
        if scope["type"] == "http":
            print("asked", flush=True)
            await asyncio.sleep(1.5)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"done"})
    return answer
"""
SERVING = """
import os, sys
from pathlib import Path
from mmesid.servers import serve
serve.SCORING = Path(sys.argv[1])
print(serve.run_until_interrupted(serve.command("127.0.0.1", int(sys.argv[2]), 1), os.environ, Path()), flush=True)
"""


def test_what_is_being_answered_when_the_server_shall_end_is_answered(port: int, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tiny_world.PROJECT / "src")}
    command = [sys.executable, "-c", SERVING, str(tmp_path / "slow.py"), str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True) as served:
        assert served.stdout is not None
        while "running on" not in served.stdout.readline().lower():
            assert served.poll() is None
        with ThreadPoolExecutor(1) as asking:
            answer = asking.submit(httpx.get, f"http://127.0.0.1:{port}/", timeout=30, trust_env=False)
            assert served.stdout.readline() == "asked\n"
            served.send_signal(signal.SIGTERM)
            assert answer.result().text == "done"
        assert served.stdout.read().endswith("None\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first version is the champion."""
    folder = tmp_path_factory.mktemp("served")
    tiny_world.make(folder)
    registry.register(DATASET, folder)
    client = tracking.client(folder)
    client.set_registered_model_alias(registry.model_name(DATASET), "champion", "1")
    return folder


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """The champion behind HTTP, as the command line starts it."""
    (port,) = ports.free(1)
    code = os.pathsep.join([str(tiny_world.PROJECT / "src"), str(tiny_world.PROJECT)])
    command = [sys.executable, "-m", "mmesid.commands.cli", "serve", DATASET, "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": code}
    with subprocess.Popen(command, cwd=root, env=environment, start_new_session=True) as server:
        try:
            for _ in range(240):
                assert server.poll() is None, "the server has ended"
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/ping", trust_env=False).is_success:
                        break
                except httpx.HTTPError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def ask(address: str, history: object, **params: object) -> httpx.Response:
    body = {"dataframe_records": [{"history": history}], "params": params}
    return httpx.post(address, json=body, timeout=30, trust_env=False)


@pytest.mark.pipeline
def test_without_a_champion_the_way_to_one_is_named(port: int, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"no champion in .*; `mmesid retrain --datasets sample`"):
        serve.check(DATASET, "127.0.0.1", port, tmp_path)


@pytest.mark.pipeline
def test_the_served_champion_answers_as_the_service(address: str, root: Path) -> None:
    (expected,) = registry.load_champion(DATASET, root).recommend([["item-3", "item-9"]], 4)
    for history in (["item-3", "item-9"], "item-3,item-9"):
        answer = ask(address, history, k=4)
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
        assert row["item_ids"] == [item.item_id for item in expected.items]
        assert row["scores"] == pytest.approx([item.score for item in expected.items], abs=1e-4)


def evaluated(root: Path, histories: Sequence[NDArray[np.int64]], k: int) -> list[list[str]]:
    """The lists of the row that `evaluate` judges."""
    store = Store(DATASET, root)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), "cpu")
    row = Fused(Scorer(model), load_fusion(store.folder("fuse")), MAIN_MODEL)
    return [[f"item-{item}" for item in found if item] for found in best(row, histories, k, True).items.tolist()]


@pytest.mark.pipeline
def test_the_served_lists_are_the_evaluations(address: str, root: Path) -> None:
    histories = load_sequences(Store(DATASET, root)).history("test")
    asked = [{"history": [f"item-{item}" for item in history]} for history in histories]
    answer = httpx.post(address, json={"dataframe_records": asked, "params": {"k": 20}}, timeout=60, trust_env=False)
    assert [row["item_ids"] for row in answer.json()["predictions"]] == evaluated(root, histories, 20)


@pytest.mark.pipeline
def test_the_readmes_request_is_answered(address: str) -> None:
    (shown,) = re.findall(r"curl .*? -d '(.*?)'", (tiny_world.PROJECT / "README.md").read_text(encoding="utf-8"))
    body = json.loads(shown)
    (asked,) = body["inputs"]
    asked["history"] = [f"item-{number}" for number in range(1, 1 + len(asked["history"]))]
    answer = httpx.post(address, json=body, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"][0]["item_ids"]) == body["params"]["k"]


@pytest.mark.pipeline
@pytest.mark.parametrize(
    ("history", "k", "reason"),
    [
        ([], 5, "history 0 is empty"),
        (["nowhere"], 5, "the catalogue has none of the items 'nowhere'"),
        (["item-3"], 0, "k must be a whole number from 1 to 40"),
        (["item-3"], N_ITEMS + 1, "k must be a whole number from 1 to 40"),
    ],
)
def test_what_has_no_answer_is_a_400_with_its_reason(address: str, history: list[str], k: int, reason: str) -> None:
    answer = ask(address, history, k=k)
    assert answer.status_code == 400
    assert reason in answer.json()["message"]


@pytest.mark.pipeline
def test_odd_histories_have_a_defined_answer(address: str) -> None:
    (mixed,) = ask(address, ["item-3", "nowhere", "item-3"], k=3).json()["predictions"]
    assert mixed["note"] == "not in the catalogue, left out: 'nowhere'"
    (long,) = ask(address, [f"item-{1 + number % 30}" for number in range(500)], k=40).json()["predictions"]
    assert len(long["item_ids"]) == 10
    assert long["note"] == "only 10 of 40 items are left"


@pytest.mark.pipeline
def test_a_request_without_content_type_is_json_and_a_refusal_is_short(address: str) -> None:
    asked = {"inputs": [{"history": ["item-3"]}] * 3000 + [{"history": ["nowhere"]}], "params": {"k": 3}}
    answer = httpx.post(address, content=json.dumps(asked).encode(), timeout=60, trust_env=False)
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"] == "history 3000: the catalogue has none of the items 'nowhere'"
    asked = {"inputs": [{"history": ["item-3"]}], "params": {"K": 3}}
    answer = httpx.post(address, content=json.dumps(asked).encode(), timeout=30, trust_env=False)
    assert answer.json()["message"] == "`params` has `K`, which nothing reads: it may have `k`"
    assert httpx.get(address.replace("invocations", "docs"), trust_env=False).status_code == 404


@pytest.mark.pipeline
def test_the_batch_lists_are_the_evaluations(server: None, root: Path) -> None:
    from flows.recommend import recommend

    table = pd.read_parquet(recommend(DATASET, 5, root))
    assert list(table.columns) == ["user_id", "rank", "item_id", "title", "score", "model"]
    assert set(table["model"]) == {"mme-sid-sample/1"}
    sequences = load_sequences(Store(DATASET, root))
    found = {user: rows["item_id"].to_list() for user, rows in table.groupby("user_id")}
    assert found == dict(zip(sequences.user_ids, evaluated(root, sequences.items, 5), strict=True))
    assert (table["rank"] == table.groupby("user_id").cumcount() + 1).all()
