"""Hub manners: gated, missing and offline models say what to do; what is cut short or does not fit is said before."""

import errno
import pickle
import re
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx2
import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file

from mmesid.artifacts import hub
from mmesid.errors import WeightsError

ANSWERS = {  # owner -> status and code
    "gated": (403, "GatedRepo"),
    "nobody": (404, "RepoNotFound"),
    "closed": (403, ""),
    "stranger": (401, ""),
    "busy": (429, ""),
    "broken": (500, ""),
    "resting": (503, ""),
    "proxied": (200, ""),
}


class Hub(BaseHTTPRequestHandler):
    """A hub whose answer is its owner's: a model is gated, is not there, or the hub itself is at fault."""

    def do_GET(self) -> None:
        status, code = ANSWERS[next(owner for owner in ANSWERS if f"/{owner}/" in self.path)]
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", "Invalid credentials in Authorization header" if status == 401 else "")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *message: object) -> None:
        """Nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A hub on this machine, and an empty cache."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        files = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        yield url
        server.shutdown()


def problem(name: str) -> str:
    """What is said of a model that does not load."""
    from transformers.utils import cached_file

    with pytest.raises(OSError, match=r".") as raised:
        cached_file(name, "config.json")
    return str(hub.unloadable("section.key", name, "a folder", raised.value))


def test_a_gated_model_says_where_to_accept_and_which_variable_holds_the_token(endpoint: str) -> None:
    said = problem("gated/llama")
    assert f"accept its terms at {endpoint}/gated/llama" in said
    assert "HF_TOKEN" in said


def test_a_model_that_the_hub_does_not_have_is_no_puzzle(endpoint: str) -> None:
    assert f"{endpoint} has no nobody/llama, or keeps it private" in problem("nobody/llama")


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ("closed", "forbids closed/llama (403): put a token that may read it into HF_TOKEN"),
        ("stranger", "does not know the token (401): `hf auth login` anew, or put a valid one into HF_TOKEN"),
        ("busy", "answers 429 for busy/llama: try again later"),
        ("broken", "answers 500 for broken/llama: try again later"),
        ("resting", "answers 503 for resting/llama: try again later"),
        ("proxied", "does not say which state of proxied/llama it has"),
    ],
)
def test_a_hub_at_fault_is_named(endpoint: str, owner: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the tries
    assert f"{endpoint} {said}" in problem(f"{owner}/llama")


def test_offline_says_that_it_is_offline(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "gated/llama does not lie in this machine's cache (HF_HOME)" in problem("gated/llama")


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere/model", "../nowhere", "~/no-such-model"])
def test_what_can_only_be_a_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"^there is no folder {re.escape(name)}$"):
        hub.commit_of(name, None)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(NotADirectoryError, match=r"model\.safetensors is a file, not a folder"):
        hub.commit_of(str(tmp_path / "model.safetensors"), None)


def test_a_home_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert [hub.expanded(name) for name in ("~/model", "shop/model")] == ["/home/someone/model", "shop/model"]


def test_a_folder_is_never_downloaded(tmp_path: Path) -> None:
    for cause in (EOFError(), pickle.UnpicklingError("no tensor")):
        said = str(hub.unloadable("section.key", str(tmp_path), "a folder", caused(cause)))
        assert "hf download" not in said
        assert "fetch it again (or copy it)" in said


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 90868376\n"
    (tmp_path / "model.safetensors").write_text(pointer)
    with pytest.raises(WeightsError, match=r"model\.safetensors .* pointer of Git LFS: `git lfs pull`"):
        hub.check_whole(tmp_path)


def caused(cause: Exception) -> OSError:
    """An error as transformers raises it: from one of the package below."""
    try:
        raise OSError("cannot load\nread on at ...") from cause
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (ConnectionError("no network"), "HF_ENDPOINT for a mirror"),
        (OSError(errno.ENOSPC, "no space left"), "the disk is full, shop/model does not fit"),
        (httpx2.RemoteProtocolError("peer closed connection"), "broke off while shop/model was fetched: run again"),
        (pickle.UnpicklingError("no tensor"), "or more than tensors; fetch it again (`hf download shop/model"),
        (EOFError(), "is cut short or damaged; fetch it again"),
        (ValueError("bad"), "expected a folder; 'shop/model' does not load (cannot load)"),
    ],
)
def test_a_model_that_does_not_load_says_what_to_do(cause: Exception, said: str) -> None:
    error = hub.unloadable("section.key", "shop/model", "a folder", caused(cause))
    assert said in str(error)
    assert str(error).startswith("section.key: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize("free", [10**9, 10**12])
def test_a_download_that_does_not_fit_is_refused_before(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [SimpleNamespace(rfilename=name, size=8 * 10**9) for name in ("a.safetensors", "b.safetensors", "c.bin")]
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, **how: SimpleNamespace(siblings=files))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    if free > 16 * 10**9:
        hub.check_space("shop/llama", None)
        return
    with pytest.raises(WeightsError, match=r"shop/llama is a download of 16\.0 GB, .* 1\.0 GB free; .* HF_HOME"):
        hub.check_space("shop/llama", None)


def test_pickled_weights_count_where_there_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    names = [*shards, "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "openvino/openvino_model.bin"]
    files = [SimpleNamespace(rfilename=name, size=10**9) for name in names]
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, **how: SimpleNamespace(siblings=files))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    with pytest.raises(WeightsError, match=r"shop/t5 is a download of 3\.0 GB"):
        hub.check_space("shop/t5", None)


def test_a_hub_that_does_not_answer_stops_nothing(endpoint: str) -> None:
    hub.check_space("nobody/llama", None)


@pytest.mark.parametrize("kept", [0, 5, 60, -1, None])
def test_weights_that_are_cut_short_are_refused(kept: int | None, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((4, 4), np.float32), "b": np.zeros(3, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    if kept is None:
        hub.check_whole(tmp_path)
        return
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged or cut short .*fetch or copy it again"):
        hub.check_whole(tmp_path)


def test_a_gguf_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("weights", np.zeros((64, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    hub.check_whole_gguf(path)
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(WeightsError, match=r"model\.gguf is damaged or cut short"):
        hub.check_whole_gguf(path)
