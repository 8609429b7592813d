"""Texts for people: short, and without secrets."""

import configparser
import errno
import sqlite3
from pathlib import Path

import pytest

from mmesid.errors import LINE_LENGTH, ConfigError, faults, first_line, without_secret


def test_secrets_leave_every_text() -> None:
    assert (
        without_secret("to http://a:b@c/ and postgresql+asyncpg://d:e@f") == "to http://c/ and postgresql+asyncpg://f"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://a:b@c@host:1/x", "at http://host:1/x"),
        ("at postgresql://a:b/c@host/runs", "at postgresql://host/runs"),
        ("at postgresql://host/runs?user=a&password=b&x=1", "at postgresql://host/runs?user=a&password=***&x=1"),
        ("at https://host/x?access_token=b more", "at https://host/x?access_token=*** more"),
        ("at http://host:5000/a and c@d", "at http://host:5000/a and c@d"),
        ("at http://host:5000/a@2", "at http://host:5000/a@2"),
    ],
)
def test_an_address_may_hold_a_secret_anywhere(text: str, shown: str) -> None:
    assert without_secret(text) == shown


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        ("one\ntwo", "one"),
        ("\n  one \ntwo", "one"),
        ("", ""),
        (ValueError("one\ntwo"), "one"),
        (ValueError(" \n"), "ValueError"),
        (OSError("no answer from http://me:secret@host:1/"), "no answer from http://host:1/"),
        (ValueError("x" * 1000), "x" * LINE_LENGTH),
    ],
)
def test_of_an_error_the_first_line_is_repeated(problem: object, line: str) -> None:
    assert first_line(problem) == line


FULL = "the disk is full"


def of_prefect(text: str) -> Exception:
    kind: type[Exception] = type("ParameterTypeError", (Exception,), {"__module__": "prefect.exceptions"})
    return kind(text)


def of_pydantic(text: str) -> Exception:
    kind: type[Exception] = type("ValidationError", (Exception,), {"__module__": "pydantic_core._pydantic_core"})
    return kind(text)


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "stage", "named"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "data/x/a.parquet"),
            "",
            "the disk is full (data/x/a.parquet",
        ),
        (
            caused(RuntimeError("cannot serialize"), OSError(errno.EDQUOT, "Disk quota exceeded")),
            "",
            "the disk is full",
        ),
        (
            RuntimeError('I/O error: Os { code: 28, kind: StorageFull, message: "No space left" }'),
            "",
            "the disk is full",
        ),
        (sqlite3.OperationalError("database or disk is full"), "", "the disk is full"),
        (OSError("40960 requested and 1024 written"), "", "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "reports/x"), "", "reports/x cannot be written"),
        (OSError(errno.EROFS, "Read-only file system", "mlruns/x"), "", "mounted for reading only"),
        (ValueError("Unknown scheme for proxy URL URL('foo://x:1')"), "", "a proxy of the environment"),
        (ImportError("Using SOCKS proxy, but the 'socksio' package is"), "", "a proxy of the environment"),
        (TimeoutError("x.lock has been held for 60 s by process 1: end it, and run again"), "", "x.lock has been held"),
        (MemoryError(), "finetune", "finetune.batch_tokens"),
        (MemoryError(), "", "memory is not enough (MemoryError); end other programs"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "x"), "tokenize", "lower tokenize's batch size"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            "",
            "memory is not enough (libtorch",
        ),
        (OSError(errno.EMFILE, "Too many open files", "x"), "", "raise it (`ulimit -n 4096`)"),
        (RuntimeError("can't start new thread"), "", "limit of processes and threads (`ulimit -u`)"),
        (ValueError("No Prefect API URL provided. Please"), "", "PREFECT_SERVER_EPHEMERAL_ENABLED"),
        (OSError("mlruns/.lock cannot be locked (No locks available): its file"), "", "mlruns/.lock cannot be locked"),
        (ValueError("Input X contains NaN."), "tokenize", "lower tokenize.learning_rate"),
        (ValueError("scores hold NaN: the model"), "finetune", "finetune.adapter_learning_rate"),
        (RuntimeError("PytorchStreamReader failed reading zip archive"), "", "damaged or cut short"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "conf/x.yaml"), "", "conf/x.yaml is a folder"),
        (of_prefect("Flow run received invalid parameters:\n - parallel: wrong"), "", "does not take these parameters"),
        (of_prefect("Flow run received invalid parameters:\n - parallel: wrong"), "", "parameters: parallel: wrong"),
        (
            of_pydantic("1 validation error for APISettings\ntimeout\n  Input should be a number [type=a]\n    See b"),
            "",
            "one of its settings (APISettings, timeout: Input should be a number [type=a])",
        ),
        (ConnectionRefusedError(111, "Connection refused"), "", "MLFLOW_TRACKING_URI"),
        (caused(RuntimeError("wrapped"), ConfigError("seed: wrong")), "", "seed: wrong"),
    ],
)
def test_a_failure_of_a_known_kind_is_one_sentence(error: Exception, stage: str, named: str) -> None:
    said = faults.tell(error, Path(), stage)
    assert named in said
    assert "\n" not in said


def test_a_damaged_file_of_weights_is_named(tmp_path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"cut short")

    def load(place: Path) -> None:
        load_file(place)

    with pytest.raises(SafetensorError) as caught:
        load(path)
    said = faults.tell(caught.value, tmp_path)
    assert "a file of weights is damaged or cut short" in said
    assert said.count(str(path)) == 1


@pytest.mark.parametrize("content", [b"garbage", b"\xff\xfe\x00", b"[core]\n[core]\n"], ids=["text", "binary", "twice"])
def test_a_damaged_configuration_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / ".dvc" / "config"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises((configparser.Error, UnicodeDecodeError)) as caught:
        configparser.ConfigParser().read([path])
    said = faults.tell(caught.value, tmp_path)
    assert str(path) in said
    assert "the traceback is in" not in said
    assert "\n" not in said


def test_what_nobody_foresaw_keeps_its_traceback_in_a_file(tmp_path: Path) -> None:
    try:
        raise ZeroDivisionError("of postgresql://me:secret@host/x")
    except ZeroDivisionError as error:
        said = faults.tell(error, tmp_path)
    (kept,) = (tmp_path / faults.LOGS).iterdir()
    assert said == f"ZeroDivisionError: of postgresql://host/x; the traceback is in {kept}"
    assert "Traceback" in kept.read_text()
    assert "secret" not in kept.read_text()


def test_a_traceback_is_kept_even_where_the_project_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    said = faults.tell(ZeroDivisionError("x"), tmp_path)
    assert Path(said.rpartition(" ")[2]).exists()


def test_prefect_is_not_to_be_unset_where_it_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("Timed out while attempting to connect to ephemeral Prefect API server.")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert "unset PREFECT_API_URL" not in faults.tell(error)
    monkeypatch.setenv("PREFECT_API_URL", "http://there/api")
    assert "or unset PREFECT_API_URL" in faults.tell(error)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    place = tmp_path / "decisions"
    place.write_text("no folder")
    for path in (place, place / "deeper"):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            path.mkdir()
        assert faults.tell(caught.value).startswith(f"{place} is a file, and should be a folder")


def test_an_unusable_proxy_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setenv("ALL_PROXY", "foo://x:1")
    with pytest.raises(ValueError, match="proxy") as caught:
        httpx.get("http://127.0.0.1:9/")
    assert "ALL_PROXY" in faults.sentence(caught.value)
