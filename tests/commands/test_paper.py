"""`mmesid paper`: the outlook before anything is fetched, every reason why a run cannot end, and what is added then."""

import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import pytest
from typer.testing import CliRunner, Result

from mmesid import config
from mmesid.commands import cli, paper, presets
from mmesid.commands.paper import hours, models, planning
from mmesid.commands.paper.datasets import SIZES
from mmesid.commands.paper.planning import Gpus
from mmesid.errors import ConfigError, DataError
from mmesid.pipeline.downloads import address, cache
from mmesid.pipeline.downloads.cache import Cache
from tests import amazon_files, paper_world
from tests.adding import run as add
from tests.amazon_files import metadata, pack, reviews
from tests.faulty_pages import Page, Server, serving

GB = 10**9
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No download of others, no GPU, no hub, and a processor whose speed is no matter."""
    amazon_files.alone(tmp_path, monkeypatch)
    monkeypatch.setenv("MMESID_DEVICE", "cpu")
    monkeypatch.delenv("MMESID_PROCESSES", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hours, "flops", lambda device: hours.REFERENCE_FLOPS)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        running.pages = {
            "/reviews_Beauty_5.json.gz": Page(pack(reviews("2014"))),
            "/meta_Beauty.json.gz": Page(pack(metadata("2014", running.url))),
        }
        yield running


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["paper", *arguments])


def spoken(result: Result) -> str:
    return " ".join(result.output.split())


def state(checkout: Path) -> list[str]:
    found = sorted(str(path) for name in ("sources", "conf") for path in (checkout / name).rglob("*"))
    return [*found, (checkout / "params.yaml").read_text(encoding="utf-8")]


def test_a_plan_is_told_and_nothing_is_fetched_or_written(checkout: Path, server: Server) -> None:
    before = state(checkout)
    result = run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url, "--plan")
    assert result.exit_code == 0, result.output
    said = spoken(result)
    for page in ("reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"):
        assert f"{page}:" in said
    assert "up to 12,101 pictures by their links, sizes unknown" in said
    assert "amazon-beauty (new: amazon-beauty)" in said
    assert "minilm, which is not installed" in said
    assert "by Beauty's times and the 100 GFLOP/s" in said
    assert not server.asked
    assert state(checkout) == before
    assert result.stdout == ""


def test_what_is_here_of_another_size_is_to_be_downloaded(checkout: Path, server: Server, tmp_path: Path) -> None:
    name = "/reviews_Beauty_5.json.gz"
    Cache(cache.home()).keep_bytes(server.url + name, "", b"old")
    server.pages[name] = server.pages[name]._replace(etag=False)
    said = spoken(run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url, "--plan"))
    assert "here already" not in said


def test_where_it_can_run_the_dataset_is_added_with_its_preset_and_named_for_make(
    checkout: Path, server: Server
) -> None:
    result = run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    assert result.stdout == "1 amazon-beauty\n"
    settings = config.load("amazon-beauty", checkout)
    assert (settings.ingest.category, settings.ingest.base_url) == ("Beauty", server.url)
    assert settings.finetune.max_hours == 10
    assert config.datasets(checkout) == ["sample", "amazon-beauty"]
    assert run("--datasets", "amazon-beauty", "--preset", "cpu").stdout == "1 amazon-beauty\n"
    assert run("--datasets", "amazon-beauty").stdout == "1 amazon-beauty\n"


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, ConfigError), result.output
    assert "nothing was fetched" in str(result.exception)
    return spoken(result)


def test_the_papers_preset_stops_without_a_gpu_and_names_every_reason(
    checkout: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(checkout)
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    said = refused("--datasets", "amazon-beauty", "--from", server.url)
    assert "init_codes.dtype is nf4, which is for a GPU, and torch sees none" in said
    assert "nf4 needs bitsandbytes" in said
    for model in ("meta-llama/Meta-Llama-3-8B-Instruct", "microsoft/LLM2CLIP-Openai-L-14-336"):
        assert f"{model} does not lie in this machine's cache" in said
    assert state(checkout) == before
    assert not server.asked


def test_an_address_without_answer_or_files_is_a_reason(checkout: Path, tmp_path: Path) -> None:
    assert "has no interactions: expected is one of" in refused("--preset", "cpu", "--from", str(tmp_path))


def test_what_is_neither_here_nor_the_papers_is_refused(checkout: Path) -> None:
    with pytest.raises(ConfigError, match=r"fourth is not here: add it with `mmesid add fourth --preset paper"):
        paper.wanted(["fourth"], "", "", checkout)


def test_a_conf_that_is_not_the_preset_is_a_reason(checkout: Path, server: Server) -> None:
    run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    said = refused("--datasets", "amazon-beauty", "--preset", "authors")
    assert "conf/amazon-beauty.yaml is not the preset authors:" in said
    assert "run it as it is without PRESET" in said


def test_how_a_dataset_that_is_not_the_papers_gets_a_preset_is_said(
    checkout: Path, catalogue: Path, server: Server
) -> None:
    add("toys", "--files", str(catalogue))
    add("office", "--source", "amazon", "--category", "Beauty", "--from", server.url)
    said = refused("--datasets", "toys,office,sample", "--preset", "cpu")
    assert "`mmesid add toys --files PATH --force --preset cpu --reset-conf` writes it anew" in said
    amazon = f"`mmesid add office --source amazon --category Beauty --release 2014 --from {server.url} --preset cpu"
    assert amazon in said
    assert "run it as it is without PRESET, or change its values there" in said
    assert said.count("not installed (`mmesid weights") <= 1


def test_a_dataset_that_was_added_with_a_preset_runs_with_it(checkout: Path, catalogue: Path) -> None:
    """What the catalogue lacks was left out of the conf then, and is no difference now."""
    for name, preset in (("toys", "small"), ("books", "paper")):
        add(name, "--files", str(catalogue), "--preset", preset)
        settings = config.load(name, checkout)
        assert settings.encode_content.image == "none"
        assert presets.differing(presets.read(preset, checkout), settings) == []
    assert presets.differing(presets.read("small", checkout), settings)


def test_a_note_on_several_datasets_is_told_once(checkout: Path, server: Server) -> None:
    said = refused("--datasets", "amazon-beauty,amazon-toys", "--preset", "cpu", "--from", server.url)
    assert said.count("minilm, which is not installed") == 1


def test_more_processes_than_cores_are_a_reason(checkout: Path, server: Server) -> None:
    said = refused("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url, "--gpus", "999")
    assert "999 processes, but no GPU and" in said


def test_addresses_are_asked_side_by_side(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is waited for once."""
    together = threading.Barrier(3, timeout=20)

    def ask(*_: object) -> None:
        together.wait()
        raise DataError("gives no answer")

    monkeypatch.setattr(address, "ask", ask)
    assert [one.fault for one in paper.wanted([], "cpu", "http://there", checkout)] == ["gives no answer"] * 3


def test_another_address_than_the_confs_is_a_reason(checkout: Path, server: Server) -> None:
    run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    assert "has another ingest.base_url" in refused("--datasets", "amazon-beauty", "--from", f"{server.url}/other")


def test_a_slash_at_the_end_is_no_other_address(checkout: Path, server: Server) -> None:
    run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    (one,) = paper.wanted(["amazon-beauty"], "", f"{server.url}/", checkout)
    assert one.fault == ""


def test_a_dead_address_is_a_reason_until_its_files_are_here(checkout: Path, server: Server) -> None:
    run("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    (one,) = paper.wanted(["amazon-beauty"], "", "", checkout)
    pages, server.pages = server.pages, {}
    assert one.record is not None
    for file in one.record.files.values():
        (dead,) = paper.wanted(["amazon-beauty"], "", "", checkout)
        assert "has no interactions" in dead.fault
        Cache(cache.home()).keep_bytes(f"{server.url}/{file.path}", file.version, pages[f"/{file.path}"].content)
    (here,) = paper.wanted(["amazon-beauty"], "", "", checkout)
    assert (here.fault, here.record) == ("", one.record)
    conf = checkout / "conf" / "amazon-beauty.yaml"
    conf.write_text(conf.read_text(encoding="utf-8").replace(server.url, f"{server.url}/other"), encoding="utf-8")
    (other,) = paper.wanted(["amazon-beauty"], "", "", checkout)
    assert "has no interactions" in other.fault


def test_a_full_disk_is_a_reason(checkout: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda place: Usage(GB, GB, 1000))
    said = refused("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    assert "1.0 kB free, and" in said
    assert "MMESID_DOWNLOADS for review files" in said


def test_more_processes_than_gpus_are_a_reason(checkout: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "find_gpus", lambda: Gpus(["H200"] * 2, 140 * GB))
    arguments = ("--datasets", "amazon-beauty", "--preset", "cpu", "--from", server.url)
    assert "8 processes, but 2 GPUs" in refused(*arguments, "--gpus", "8")
    assert run(*arguments).stdout == "2 amazon-beauty\n"


def large(use: models.Use) -> models.Model:
    """An eight-billion model that is here."""
    return models.Model(use, 16 * GB, 0, 8 * GB)


def test_large_models_need_a_gpu_that_holds_them(
    checkout: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "look", large)
    arguments = ("--datasets", "amazon-beauty", "--preset", "small", "--from", server.url)
    assert "Llama-3.2-1B-Instruct has 8.0 billion parameters, and torch sees no GPU" in refused(*arguments)
    monkeypatch.setattr(planning, "find_gpus", lambda: Gpus(["small"], 12 * GB))
    assert "at least 16.0 GB for meta-llama/Llama-3.2-1B-Instruct's weights in bfloat16" in refused(*arguments)
    monkeypatch.setattr(planning, "find_gpus", lambda: Gpus(["large"], 80 * GB))
    result = run(*arguments, "--plan")
    assert result.exit_code == 0, result.output
    assert "fine-tuning at least" in spoken(result)
    assert "by arithmetic, at 40% of 0 TFLOP/s a GPU; small steps reach less" in spoken(result)


class GatedRepoError(Exception):
    """As the hub's own is known: by its name."""


USE = models.Use("init_codes.backbone", "shop/llama", None, "bfloat16")


def answering(**told: Any) -> Any:
    """A hub's answer on a model."""
    files = [SimpleNamespace(rfilename="model.safetensors", size=16 * GB), SimpleNamespace(rfilename="x.pth", size=1)]
    return lambda self, name, **_: SimpleNamespace(
        siblings=files, gated=False, safetensors=SimpleNamespace(total=8 * GB), **told
    )


def test_the_hub_tells_sizes_and_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answering())
    found = models.look(USE)
    assert (found.bytes, found.missing, found.parameters, found.fault) == (16 * GB, 16 * GB, 8 * GB, "")
    assert found.memory == 16 * GB
    assert models.look(USE._replace(dtype="nf4")).memory == 4 * GB


def test_a_gated_model_without_a_token_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(self: object, name: str, **_: object) -> Any:
        return SimpleNamespace(siblings=[], gated="manual", safetensors=None)

    def refuse(self: object, name: str) -> None:
        raise GatedRepoError

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", gated)
    monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", refuse)
    said = models.look(USE).fault
    assert "shop/llama is gated: accept its terms" in said
    assert "HF_TOKEN" in said


def test_a_folder_is_counted_by_its_headers(tmp_path: Path) -> None:
    found = models.look(USE._replace(name=str(paper_world.backbone(tmp_path / "llama"))))
    assert found.missing == 0
    assert found.parameters is not None
    assert found.bytes is not None
    assert 0 <= found.bytes - 4 * found.parameters < 20_000  # float32, and a header


def test_the_papers_sizes_give_the_memory_that_training_takes_at_least(checkout: Path, server: Server) -> None:
    (one,) = paper.wanted(["amazon-beauty"], "paper", server.url, checkout)
    assert planning._input_weights(one.settings) == 6 * 4096 * 3 * 4096 + 3 * 4096 * 4096  # 352 million
    said = " ".join(
        text for _, text in planning.memory_floor(one.settings, dict.fromkeys(models.uses(one.settings), large(USE)), 1)
    )
    assert "for training the tokenizer" in said
    assert "for fine-tuning, and the activations" in said


def test_hours_grow_with_the_work_and_shrink_with_the_speed(checkout: Path, server: Server) -> None:
    (one,) = paper.wanted(["amazon-beauty"], "cpu", server.url, checkout)
    size = SIZES["Beauty"]
    usual = hours.on_processor(one.settings, size, hours.REFERENCE_FLOPS, pictures=False)
    faster = hours.on_processor(one.settings, size, 2 * hours.REFERENCE_FLOPS, pictures=False)
    seen = hours.on_processor(one.settings, size, hours.REFERENCE_FLOPS, pictures=True)
    larger = hours.on_processor(one.settings, SIZES["Sports_and_Outdoors"], hours.REFERENCE_FLOPS, pictures=False)
    assert usual
    assert faster
    assert seen
    assert larger
    assert faster.total < usual.total < seen.total < larger.total
    assert usual.seconds["finetune"] == pytest.approx(hours.REFERENCE["finetune"], rel=0.01)
    other = one.settings.model_copy(
        update={"init_codes": one.settings.init_codes.model_copy(update={"backbone": "x/y"})}
    )
    assert hours.on_processor(other, size, 1.0, pictures=False) is None


def test_a_folder_without_links_to_pictures_is_seen(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "reviews_Beauty_5.json.gz").write_bytes(pack(reviews("2014")))
    for kept, expected in (("imUrl", True), ("none", False)):
        lines = [line.replace("imUrl", kept) for line in metadata("2014", "http://x")]
        (tmp_path / "raw" / "meta_Beauty.json.gz").write_bytes(pack(lines))
        (one,) = paper.wanted(["amazon-beauty"], "cpu", str(tmp_path / "raw"), checkout)
        assert planning._has_pictures(one, checkout) == expected


def test_pictures_that_a_folder_links_to_are_in_the_plan(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "reviews_Beauty_5.json.gz").write_bytes(pack(reviews("2014")))
    (folder / "meta_Beauty.json.gz").write_bytes(pack(metadata("2014", "http://x")))
    arguments = ("--datasets", "amazon-beauty", "--preset", "cpu", "--from", str(folder), "--plan")
    said = spoken(run(*arguments))
    assert "amazon-beauty: up to 12,101 pictures by their links" in said
    assert "at least 0 B to download" in said
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(amazon_files.picture(0))
    assert "pictures by their links" not in spoken(run(*arguments))
    (one,) = paper.wanted(["amazon-beauty"], "cpu", str(folder), checkout)
    assert planning._has_pictures(one, checkout), "its own are encoded, which takes time"


def test_a_dataset_that_is_named_twice_is_meant_once(checkout: Path, server: Server) -> None:
    result = run("--datasets", "amazon-beauty,amazon-beauty", "--preset", "cpu", "--from", server.url)
    assert result.stdout == "1 amazon-beauty\n"


def test_what_datasets_share_is_counted_once(checkout: Path, server: Server) -> None:
    (one,) = paper.wanted(["amazon-beauty"], "cpu", server.url, checkout)
    other = one._replace(name="another")
    uses = [USE, USE._replace(dtype="nf4"), USE._replace(name="shop/other")]
    needed, lines = planning._downloads([one, other], [large(use)._replace(missing=GB) for use in uses], checkout)
    assert one.record is not None
    assert [size for _, size in needed] == [sum(file.bytes or 0 for file in one.record.files.values()), 2 * GB]
    assert len(lines) == len(set(lines)) == 2 + 2 + 2  # files, pictures of each dataset, models


def clip(name: str = "ViT-B-32", pretrained: str | None = "laion2b_s34b_b79k") -> models.Use:
    return models.Use(models.OPEN_CLIP, name, pretrained, "float32")


def test_the_preset_small_names_its_vision_model(checkout: Path, server: Server) -> None:
    (one,) = paper.wanted(["amazon-beauty"], "small", server.url, checkout)
    assert clip() in list(models.uses(one.settings))
    (one,) = paper.wanted(["amazon-beauty"], "cpu", server.url, checkout)
    assert models.OPEN_CLIP not in {use.key for use in models.uses(one.settings)}, "embedded has nothing to fetch"


def test_the_hub_tells_the_size_of_an_open_clip_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def told(self: object, name: str, **_: object) -> Any:
        asked.append(name)
        sizes = {"open_clip_pytorch_model.bin": 7 * GB, "open_clip_model.safetensors": 6 * GB, "model.safetensors": 5}
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()])

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", told)
    for use in (clip(), clip("hf-hub:shop/clip", None)):
        found = models.look(use)
        assert (found.bytes, found.missing, found.fault) == (6 * GB, 6 * GB, "")
    assert asked == ["laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "shop/clip"]


def test_an_open_clip_model_that_is_here_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "open_clip_pytorch_model.bin"
    weights.write_bytes(b"weights")
    for use in (clip(pretrained=str(weights)), clip(f"local-dir:{tmp_path}", None)):
        assert models.look(use)[1:] == (7, 0, None, "")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, name: str(weights))
    assert models.look(clip())[1:] == (7, 0, None, "")


@pytest.mark.parametrize("use", [clip(pretrained="none_such"), clip(pretrained=None), clip("local-dir:/none", None)])
def test_weights_that_open_clip_does_not_know_are_a_reason(use: models.Use) -> None:
    assert "has no weights" in models.look(use).fault


def test_packaged_weights_need_what_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("MMESID_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(models.packaged, "has_reader", lambda: False)
    found = models.look(USE._replace(name="smollm2"))
    assert found.missing == found.bytes == (98 + 1) * 10**6
    assert "not installed is smollm2 and gguf; `mmesid weights smollm2` fetches what is missing" in found.fault
    assert "what reads" in models.look(USE._replace(name=str(tmp_path / "model.gguf"))).fault
    monkeypatch.setattr(models.packaged, "has_reader", lambda: True)
    assert models.look(USE._replace(name="smollm2")).missing == 98 * 10**6
    assert models.look(USE._replace(name=str(tmp_path / "model.gguf"))).fault == ""


def test_the_makefile_runs_what_the_plan_names(checkout: Path) -> None:
    text = (checkout / "Makefile").read_text(encoding="utf-8")
    assert "mmesid paper --preset" in text
    assert 'MMESID_PROCESSES=$$1 make --no-print-directory repro DATASETS="$$2"' in text
