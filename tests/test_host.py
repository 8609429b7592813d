"""Locks that end with their holder, and an environment in which nothing calls home."""

import errno
import fcntl
import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mmesid import host
from mmesid.errors import faults
from mmesid.host import HeldError, hold, is_free

PROJECT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from mmesid.host import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1)
"""


def test_a_lock_is_free_once_its_holder_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_free(path)
    assert not path.exists()
    with hold(path):
        assert not is_free(path)
        with pytest.raises(HeldError, match=f"process {os.getpid()}"), hold(path):
            pass
    assert is_free(path)


def test_who_waits_for_a_lock_is_told_its_holder_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holders: list[str] = []
    holding = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(holding, cwd=PROJECT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with hold(lock, holders.append):
            assert holders == [f"process {other.pid}"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another program that holds a lock for a while and writes nothing into its file."""
    script = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(1, flush=True); time.sleep({})"
    )
    holding = [sys.executable, "-c", script.format(1), str(tmp_path / ".lock")]
    with subprocess.Popen(holding, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says who holds a lock")
def test_who_waits_long_for_a_moments_lock_is_told_its_holder(
    tmp_path: Path,
    other: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(host, "WAIT_SECONDS", 0.1)
    with host.locked(tmp_path / ".lock"):
        said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(
        f"waiting for {tmp_path / '.lock'}, which is held by process {other.pid} ({sys.executable} -c"
    )


def test_a_folders_lock_is_not_waited_for_without_end(
    tmp_path: Path, other: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "MOMENT_SECONDS", 0.1)
    said = r"\.lock has been held for 0 s by .*: end it, and run again"
    with pytest.raises(TimeoutError, match=said), host.locked(tmp_path / ".lock"):
        pass
    assert not host.is_free(tmp_path / ".lock", patience=0.1)
    other.kill()
    assert host.is_free(tmp_path / ".lock", patience=10)
    with host.locked(tmp_path / "long.lock"):
        pass


def test_a_holder_is_named_without_the_password_of_an_address(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    assert host.holder(lock) == f"another process (`fuser {lock}` names it)"
    holding = [sys.executable, "-c", HOLD, str(lock), "postgresql://me:secret@there"]
    with subprocess.Popen(holding, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "secret" not in host.holder(lock)
        process.kill()


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "false")
    monkeypatch.delenv("GX_ANALYTICS_ENABLED")
    host.set_defaults(host.QUIET)
    assert (os.environ["DO_NOT_TRACK"], os.environ["GX_ANALYTICS_ENABLED"]) == ("false", "false")


def test_the_makefile_switches_off_what_the_code_does() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for name, value in host.QUIET.items():
        if not name.endswith("PROGRESS_BAR"):
            assert f"export {name} := {value}\n" in makefile


def test_prefect_keeps_its_state_in_the_checkout() -> None:
    code = "import os, flows; print(os.environ['PREFECT_HOME'])"
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(PROJECT / ".prefect")


def test_the_floor_is_light() -> None:
    heavy = ("torch", "prefect", "mlflow", "psutil", "pydantic")
    code = f"import sys, mmesid.host; sys.exit(any(name in sys.modules for name in {heavy}))"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


def test_no_proxy_stands_between_servers_and_clients_of_this_machine() -> None:
    variables = {"HTTP_PROXY": "http://proxy:1", "no_proxy": "corp.example", "ALL_PROXY": "socks5://proxy:2"}
    host.spare_loopback("10.0.0.5", variables=variables)
    assert variables["no_proxy"] == variables["NO_PROXY"] == "corp.example,127.0.0.1,localhost,::1,10.0.0.5"
    assert variables["HTTP_PROXY"] == "http://proxy:1"
    without: dict[str, str] = {}
    host.spare_loopback(variables=without)
    assert without == {}


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_who_spares_everything_still_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"http_proxy": "http://127.0.0.1:9", name: "*"}
    host.spare_loopback("10.0.0.5", variables=variables)
    for each, value in variables.items():
        monkeypatch.setenv(each, value)
    assert requests.utils.get_environ_proxies("http://example.org/") == {}


@pytest.mark.parametrize("begins", [True, False], ids=["amid an import", "in order"])
def test_ctrl_c_is_one_line(begins: bool) -> None:
    script = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # nohup ignores it
    script += "from mmesid import host; host.end_at_once('stopped'); "
    script += "" if begins else "host.raise_interrupts(); "
    done = subprocess.run(
        [sys.executable, "-c", script + "os.kill(os.getpid(), signal.SIGINT)"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == "stopped\n" if begins else "KeyboardInterrupt" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says who holds a lock")
def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    told_so = r"\.lock cannot be locked \(No locks available\) on a file system"
    with pytest.raises(OSError, match=told_so) as told, host.locked(tmp_path / ".lock"):
        pass
    said = faults.tell(told.value, tmp_path)
    assert said == str(told.value)
    assert faults.is_of_disk(told.value)  # and no fault of MLflow's


def test_who_is_stopped_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MOMENT_SECONDS", 0.1)
    lock = tmp_path / ".registry.sample.lock"
    holding = [sys.executable, "-c", HOLD.replace("sleep(1)", "sleep(60)"), str(lock)]
    with subprocess.Popen(holding, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError, match=rf"(?s)by process {process.pid} .*let it go on"), host.locked(lock):
                pass
        finally:
            process.kill()


def test_a_closed_standard_output_takes_all_that_is_written_to_it() -> None:
    code = "import os, sys; from mmesid import host; host.take_any_text(); print(1); sys.stdout.flush(); os.fstat(1)"
    script = f"{sys.executable} -c '{code}; assert os.get_inheritable(1)' >&-"
    done = subprocess.run(["/bin/sh", "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_no_address_can_name_is_told() -> None:
    assert host.unaddressable(Path("/a b/ü#'/x.db")) == ""
    for name in ("b?x", "b%20x"):
        assert "rename the folder" in host.unaddressable(Path("/w", name, "x.db"))


def test_a_user_whom_the_system_has_no_name_for_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # which is undone, whatever it was
    host.name_user()
    assert os.environ["USER"] == ""
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    host.name_user()
    assert getpass.getuser() == str(os.getuid())
