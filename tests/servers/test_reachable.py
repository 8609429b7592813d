"""Whether Prefect's database can be used, asked before Prefect tries for minutes."""

import sqlite3
from pathlib import Path

import pytest

from mmesid.errors import ServiceError
from mmesid.servers import reachable
from tests import faulty


@pytest.fixture(autouse=True)
def _no_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (reachable.API, *reachable.DATABASES, "PREFECT_HOME", reachable.LOGIN, "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
@pytest.mark.parametrize("path", ["/proc/x.db", "/dev/null/a/x.db", "/not/there/x.db"])
def test_a_file_that_the_variable_names_must_be_writable(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(reachable.DATABASE, f"sqlite+aiosqlite:///{path}")
    with pytest.raises(ServiceError, match=f"^{reachable.DATABASE}: {path} cannot be written .*or unset it"):
        reachable.check_prefect(tmp_path)


def test_a_file_that_the_variable_names_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.db"
    monkeypatch.setenv(reachable.DATABASE, f"sqlite+aiosqlite:///{path}?timeout=5")
    reachable.check_prefect(tmp_path)
    assert not path.exists()
    sqlite3.connect(path).execute("CREATE TABLE a (b)")
    reachable.check_prefect(tmp_path)
    faulty.garbage(path)
    with pytest.raises(ServiceError, match=f"Prefect's database {path} cannot be used"):
        reachable.check_prefect(tmp_path)


@pytest.mark.parametrize("place", ["", "/:memory:", "/file::memory:?cache=shared&uri=true"])
def test_a_database_in_memory_needs_no_folder(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(reachable.DATABASE, f"sqlite+aiosqlite://{place}")
    reachable.check_prefect(tmp_path)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
def test_prefects_own_file_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable.check_prefect(tmp_path / "new")
    monkeypatch.setenv("PREFECT_HOME", "/proc/prefect")
    with pytest.raises(ServiceError, match=r"Prefect's folder /proc/prefect cannot be used \(/proc: .*PREFECT_HOME"):
        reachable.check_prefect(tmp_path)


def test_prefects_folder_is_looked_at_without_importing_prefect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reachable.check_home(tmp_path) == tmp_path / ".prefect"
    faulty.into_file(tmp_path / ".prefect")
    with pytest.raises(ServiceError, match=r"folder .*/\.prefect cannot be used \(.*PREFECT_HOME"):
        reachable.check_home(tmp_path)


def test_a_folder_that_no_address_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="rename the folder, or set PREFECT_HOME"):
        reachable.check_prefect(tmp_path / "b?x")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
def test_of_both_names_of_the_variable_prefects_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = reachable.DATABASES
    monkeypatch.setenv(first, "sqlite+aiosqlite:////proc/x.db")
    monkeypatch.setenv(second, f"sqlite+aiosqlite:///{tmp_path}/x.db")
    with pytest.raises(ServiceError, match=f"^{first}: /proc/x.db cannot be written"):
        reachable.check_prefect(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".env", f"A=1\nexport PREFECT_API_URL='http://{faulty.NOBODY}/api'\n"),
        ("prefect.toml", f'[api]\nurl = "http://{faulty.NOBODY}/api"\n'),
        (
            ".prefect/profiles.toml",
            f'active = "far"\n[profiles.far]\nPREFECT_API_URL = "http://{faulty.NOBODY}/api"\n[profiles.near]\n',
        ),
    ],
)
def test_an_address_that_prefect_reads_from_a_file_is_tried_and_the_file_named(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / file
    place.parent.mkdir(exist_ok=True)
    place.write_text(text, encoding="utf-8")
    with pytest.raises(ServiceError, match=f"no Prefect server answers at http://{faulty.NOBODY}.*out of {place}"):
        reachable.check_prefect(tmp_path)
    monkeypatch.setenv("PREFECT_PROFILE", "near")
    assert reachable.api_of(tmp_path)[0].startswith("http") == (".prefect" not in file)


@pytest.mark.parametrize("text", ["", "active =", "active = 'far'\n", "\xff", "[profiles]\nfar = {}\n"])
def test_files_of_prefects_that_name_no_address_are_left_to_it(text: str, tmp_path: Path) -> None:
    for name in (".env", "prefect.toml", ".prefect/profiles.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="latin-1")
    assert reachable.api_of(tmp_path) == ("", "")


def test_a_login_that_prefect_does_not_know_is_told_though_its_health_is_fine(tmp_path: Path) -> None:
    told = pytest.raises(ServiceError, match=f"without a login that it knows: set {reachable.LOGIN}")
    with faulty.other_server("at", "http://{}/api", 401, 200, b"true")(tmp_path) as found, told:
        reachable.check_api(found["at"])
    with faulty.other_server("at", "http://{}/api", 200, 200, b"true")(tmp_path) as found:
        reachable.check_api(found["at"])
