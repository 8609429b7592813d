"""Sources under DVC: clones without the files have nothing to run, changes are noticed, what is needed is said."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from mmesid.artifacts import source
from mmesid.artifacts.store import Store
from mmesid.commands import remote
from mmesid.errors import DataError
from mmesid.pipeline import graph, sources, steps
from tests import tiny

pytestmark = pytest.mark.pipeline

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
COPY = "import pathlib, sys; from mmesid.artifacts.store import Store; p = pathlib.Path(sys.argv[1]); p.mkdir()"
WRITE = "(p / 'rows').write_bytes((Store('toys').source() / 'interactions.csv').read_bytes())"
DVC_YAML = {
    "stages": {
        "ingest": {
            "matrix": {"dataset": "${datasets}"},
            "cmd": f'python -c "{COPY}; {WRITE}" ${{item.dataset}}-rows',
            "deps": ["sources/${item.dataset}"],
            "outs": ["${item.dataset}-rows"],
        }
    }
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "toys"
    (folder / "images").mkdir(parents=True)
    (folder / "interactions.csv").write_text("one\n", encoding="utf-8")
    (folder / "images" / "a.png").write_bytes(b"picture")
    return folder


@pytest.fixture
def project(tmp_path: Path, project_copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose pipeline is one stage that reads the source `toys`; results go to a folder."""
    root = project_copy(tmp_path / "project")
    tiny.write_yaml(root / "dvc.yaml", DVC_YAML)
    tiny.write_yaml(root / "params.yaml", {"datasets": ["toys"]})
    with (root / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("/toys-rows\n")
    remote.use(str(tmp_path / "store"), root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(params=["copied", "external"])
def added(request: pytest.FixtureRequest, project: Path, files: Path) -> Path:
    """The project with `toys` in either way, run once."""
    sources.place(files, "toys", project, external=request.param == "external")
    sources.track("toys", project)
    must(project, "dvc", "repro")
    return project


def must(root: Path, *command: str) -> str:
    done = tiny.run(root, *command)
    assert done.returncode == 0, done.stdout
    return done.stdout


def clone(project: Path, place: Path) -> Path:
    """Another machine: neither the files nor the link to them are there."""
    must(project, "git", "add", ".")
    must(project, *GIT, "commit", "--quiet", "--message", "toys")
    must(project, "dvc", "push")
    must(project, "git", "clone", "--quiet", str(project), str(place))
    return place


def is_due(root: Path) -> bool:
    return any(stage.changes for stage in graph.read(root))


def change(files: Path) -> None:
    (files / "interactions.csv").write_text("one\ntwo\n", encoding="utf-8")


def test_a_clone_has_nothing_to_run_after_a_full_pull(added: Path, tmp_path: Path, files: Path) -> None:
    other = clone(added, tmp_path / "clone")
    files.rename(tmp_path / "gone")
    must(other, "dvc", "pull")
    assert not is_due(other)
    assert "Running stage" not in must(other, "dvc", "repro")
    assert steps.steps(["toys"], True, other) == [""]


def test_a_clone_without_the_source_has_nothing_to_run_either(added: Path, tmp_path: Path, files: Path) -> None:
    other = clone(added, tmp_path / "clone")
    files.rename(tmp_path / "gone")
    told = "ingest@toys must run, and the files of sources/toys are not here: `dvc pull sources/toys.dvc` fetches them"
    with pytest.raises(DataError, match=told):
        steps.steps(["toys"], True, other)
    must(other, "dvc", "pull", "ingest@toys")
    assert not is_due(other)
    assert steps.steps(["toys"], True, other) == ["--single-item report"]


def test_what_was_made_of_a_source_that_is_not_here_comes_back(project: Path, files: Path, tmp_path: Path) -> None:
    link = project / "sources" / "toys"
    link.symlink_to(files, target_is_directory=True)
    must(project, "dvc", "repro")
    files.rename(tmp_path / "gone")
    shutil.rmtree(project / "toys-rows")
    sources.refresh(["toys"], project)
    assert (project / "toys-rows" / "rows").exists()
    assert steps.steps(["toys"], True, project) == ["--single-item report"]


def test_a_source_that_the_stage_misses_is_one_sentence(added: Path, tmp_path: Path, files: Path) -> None:
    other = clone(added, tmp_path / "clone")
    files.rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"are not here: `dvc pull sources/toys\.dvc` fetches them, or `mmesid"):
        Store("toys", other).source()
    must(other, "dvc", "pull", "sources/toys.dvc")
    if not source.is_external(other / "sources" / "toys"):
        assert "Running stage" in must(other, "dvc", "repro")
        return
    with pytest.raises(DataError, match=r"`mmesid add toys --files PATH --external` names the folder on this"):
        Store("toys", other).source()


def test_a_record_of_another_state_is_a_reason_to_run_even_without_the_files(
    added: Path, tmp_path: Path, files: Path
) -> None:
    other = clone(added, tmp_path / "clone")
    must(other, "dvc", "pull", "ingest@toys")
    path = other / "sources" / "toys.dvc"
    path.write_text(path.read_text(encoding="utf-8").replace("md5: ", "md5: 0"), encoding="utf-8")
    assert is_due(other)


def test_a_change_outside_is_noticed_and_taken(project: Path, files: Path) -> None:
    sources.place(files, "toys", project, external=True)
    sources.track("toys", project)
    must(project, "dvc", "repro")
    change(files)
    assert is_due(project), "the plan looks at the files themselves"
    with pytest.raises(DataError, match=r"is not as .*external\.yaml records.*`mmesid sources`"):
        Store("toys", project).source()
    (said,) = sources.refresh(["toys"], project)
    assert said.startswith("sources/toys has changed; sources/toys.dvc tells its state now")
    assert sources.refresh(["toys"], project) == []
    assert "Running stage" in must(project, "dvc", "repro")
    assert (project / "toys-rows" / "rows").read_text(encoding="utf-8") == "one\ntwo\n"


def test_the_copy_is_not_the_original_and_a_change_in_it_is_taken(project: Path, files: Path) -> None:
    sources.place(files, "toys", project, external=False)
    before = sources.track("toys", project)
    change(files)
    assert sources.refresh(["toys"], project) == []
    assert sources.is_kept("toys", project)
    mine = project / "sources" / "toys"
    (mine / "interactions.csv").unlink()
    change(mine)
    assert not sources.is_kept("toys", project)
    assert len(sources.refresh(["toys"], project)) == 1
    assert sources.tracked_hash("toys", project) not in ("", before)


def test_what_the_cache_holds_comes_back(project: Path, files: Path) -> None:
    sources.place(files, "toys", project, external=False)
    sources.track("toys", project)
    shutil.rmtree(project / "sources" / "toys")
    assert sources.refresh(["toys"], project) == ["sources/toys came back from DVC's cache"]
    assert (project / "sources" / "toys" / "images" / "a.png").exists()


def test_a_link_of_old_goes_on_working(project: Path, files: Path) -> None:
    (project / "sources" / "toys").symlink_to(files, target_is_directory=True)
    must(project, "dvc", "repro")
    assert sources.refresh(["toys"], project) == []
    assert not is_due(project)
    change(files)
    assert is_due(project)


def test_neither_place_nor_age_changes_a_digest(files: Path, tmp_path: Path) -> None:
    before = source.digest(files)
    assert (before.files, before.bytes) == (2, 11)
    copied = Path(shutil.copytree(files, tmp_path / "copy"))
    os.utime(copied / "interactions.csv", (0, 0))
    (copied / ".DS_Store").touch()
    assert source.digest(copied) == before
    (copied / "images" / "a.png").rename(copied / "images" / "b.png")
    assert source.digest(copied) != before


def write(folder: Path, text: str, count: int) -> Path:
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        (folder / "images" / f"{number}.png").write_text(text, encoding="utf-8")
    (folder / "interactions.csv").write_text(text, encoding="utf-8")
    return folder


def held(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Killed(BaseException):
    """No code of ours catches it, as none catches SIGKILL."""


def killed_at(step: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether `act` was cut short at its step-th change of a folder; False where it has fewer."""
    done = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def counting(*arguments: object, **options: object) -> object:
            nonlocal done
            done += 1
            if done == step:
                raise Killed
            return call(*arguments, **options)

        return counting

    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "unlink", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            act()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("external", [False, True], ids=["copied", "external"])
def test_a_killed_replacement_leaves_the_old_catalogue_or_the_new_one(
    project: Path, tmp_path: Path, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = write(tmp_path / "old", "old", 3), write(tmp_path / "new", "new", 2)
    mine, seen, step = project / "sources" / "toys", set(), 0
    cut_short = True
    while cut_short:
        step += 1
        sources.place(old, "toys", project, external=False)
        before = sources.track("toys", project)
        cut_short = killed_at(step, lambda: sources.place(new, "toys", project, external), monkeypatch)
        lines = sources.refresh(["toys"], project)
        is_old = held(mine) == held(old)
        assert is_old or (sorted(held(mine)) == ["external.yaml"] if external else held(mine) == held(new))
        assert (lines == []) == is_old == (sources.tracked_hash("toys", project) == before)
        assert not [path.name for path in mine.parent.glob(".*") if path.suffix in (".old", ".gone")]
        seen.add((is_old, cut_short))
    assert seen == {(True, True), (False, True), (False, False)}


def test_a_catalogue_half_deleted_never_returns(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = write(tmp_path / "old", "old", 2), write(tmp_path / "new", "new", 2)
    mine, step, cut_short = project / "sources" / "toys", 0, True
    while cut_short:
        step += 1
        sources.place(old, "toys", project, external=False)
        sources.track("toys", project)
        cut_short = killed_at(step, lambda: sources.place(new, "toys", project, external=False), monkeypatch)
        shutil.rmtree(mine, ignore_errors=True)
        sources.refresh(["toys"], project)
        assert held(mine) == held(old), "DVC's cache holds it"


def test_a_link_that_a_kill_moved_aside_comes_back(project: Path, files: Path, tmp_path: Path) -> None:
    link = project / "sources" / "toys"
    link.symlink_to(files, target_is_directory=True)
    sources.clear("toys", project)
    assert not link.exists()
    sources.refresh(["toys"], project)
    assert link.readlink() == files
    sources.place(write(tmp_path / "new", "new", 2), "toys", project, external=False)
    assert not link.is_symlink()
    assert sorted(path.name for path in link.parent.iterdir()) == ["sample", "toys"]
    assert (files / "interactions.csv").exists()


def test_git_and_dvc_see_the_tracked_file_and_nothing_below(project: Path, files: Path) -> None:
    sources.place(files, "toys", project, external=True)
    sources.track("toys", project)
    tracked = yaml.safe_load((project / "sources" / "toys.dvc").read_text(encoding="utf-8"))["outs"][0]
    assert tracked["nfiles"] == 1, "external.link leads elsewhere on every machine"
    with Repo(str(project)) as repo:
        assert "sources/toys.dvc" in {stage.addressing for stage in repo.index.stages}
