"""What a library or the machine raises, as one sentence: what happened, and which file, key or variable to change.

The one place that does so. A failure that nobody foresaw keeps its traceback in a file that the sentence names.
"""

import errno
import os
import re
import tempfile
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mmesid.errors import MmesidError, causes, first_line, without_secret

LOGS = Path("mlruns", "errors")  # below the project's folder
RATES = {  # stage -> keys of the rates to lower where its training diverges
    "encode_collaborative": ("encode_collaborative.learning_rate",),
    "encode_content": ("encode_content.open_clip.learning_rate",),
    "tokenize": ("tokenize.learning_rate",),
    "init_codes": ("init_codes.embedded.pretrain_learning_rate",),
    "finetune": ("finetune.learning_rate", "finetune.adapter_learning_rate", "finetune.table_learning_rate"),
    "baselines": ("baselines.content_transformer.learning_rate",),
}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")  # endings of files of weights
SETTINGS = (".dvc/config", ".dvc/config.local", ".yaml")  # likewise, of what is in git and written by hand


class Kind(NamedTuple):
    """A kind of failure: recognized by `Type: message` of an error or of one that it stems from."""

    pattern: re.Pattern[str]
    sentence: Callable[[str, str], str]  # of its first line and the stage, empty outside of one


def tell(error: BaseException, root: Path = Path(), stage: str = "") -> str:
    """What a person reads instead of a traceback: the error's own message, a sentence, or where the traceback lies.

    Args:
        error: that ended a command or a stage.
        root: the project's folder.
        stage: in which it happened, so that its key can be named.
    """
    if isinstance(error, MmesidError):
        return str(error)
    return sentence(error, stage) or f"{_named(error)}; the traceback is in {keep(error, root)}"


def sentence(error: BaseException, stage: str = "") -> str:
    """One sentence for a failure of a known kind, else empty."""
    chain = list(causes(error))
    for each in chain:
        if isinstance(each, MmesidError):
            return str(each)
        if isinstance(each, OSError) and each.errno in FULL | FORBIDDEN:
            return _unwritable(each)
        if isinstance(each, IsADirectoryError) and each.filename:
            return f"{each.filename} is a folder, and should be a file: move it away, put the file back and run again"
        if _wants_a_folder(each) and (found := _file_above(each)):
            return f"{found} is a file, and should be a folder: move it away and run again"
        if isinstance(each, UnicodeDecodeError) and (file := _file_of(chain, SETTINGS)):
            return f"{file} is no text in UTF-8 ({first_line(each)}): correct it, or `git checkout` it"
    texts = [f"{type(each).__module__}.{type(each).__name__}: {each}" for each in chain]
    for kind in KINDS:
        for each, text in zip(chain, texts, strict=True):
            if kind.pattern.search(text):
                line = _gist(each)
                if kind.sentence is _damaged and (file := _file_of(chain, WEIGHTS)) not in line:
                    line = f"{file}: {line}"
                return without_secret(kind.sentence(line, stage))
    return ""


def is_of_disk(error: BaseException) -> bool:
    """Whether an error stems from a full disk, a file's permissions or a disk without locks, whoever was at work."""
    for each in causes(error):
        if isinstance(each, OSError) and (each.errno in FULL or (each.errno in FORBIDDEN and each.filename)):
            return True
        if any(kind.pattern.search(str(each)) for kind in KINDS if kind.sentence in (_full, _failing, _lockless)):
            return True
    return False


def keep(error: BaseException, root: Path) -> Path:
    """Write the traceback below `mlruns/errors`, or where that cannot be written, to a temporary file."""
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    text = without_secret("".join(traceback.format_exception(error)))
    for folder in (root.absolute() / LOGS, Path(tempfile.gettempdir())):
        path = folder / f"{moment}-{os.getpid()}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")
            return path
        except OSError:
            continue
    return Path(os.devnull)


def diverged(stage: str, what: str) -> str:
    """A training whose numbers have left the range of numbers: which rates to lower."""
    keys = RATES.get(stage, (f"{stage}.learning_rate" if stage else "the stage's learning_rate",))
    return f"the training has diverged ({what}): lower {' or '.join(keys)}, to a third at first, and run again"


def _gist(error: BaseException) -> str:
    """An error's first line; where that announces a list or a file, with what follows."""
    text = re.sub(r"^\d+ validation errors? for (\w+)\n(\w+)\n\s+", r"\1, \2: ", str(error).strip())
    return first_line(re.sub(r":\s*\n\s*(?:- )?|\.\s*\n(?=file: )", ": ", text, count=1) or error)


def _wants_a_folder(error: BaseException) -> bool:
    """Whether a file stands where a folder was to be made or entered."""
    made = [frame.name for frame in traceback.extract_tb(error.__traceback__)[-1:]] in (["mkdir"], ["makedirs"])
    return isinstance(error, NotADirectoryError) or (isinstance(error, FileExistsError) and made)


def _file_above(error: BaseException) -> Path | None:
    """The file in the path that an error is about; None where there is none."""
    path = Path(str(getattr(error, "filename", ""))).absolute()
    return next((each for each in (path, *path.parents) if each.is_file()), None)


def _file_of(chain: Iterable[BaseException], endings: tuple[str, ...]) -> str:
    """The file that was being read, as the variables of the innermost function tell that has one; else empty."""
    for error in chain:
        for frame in reversed([frame for frame, _ in traceback.walk_tb(error.__traceback__)]):
            for value in frame.f_locals.values():
                if isinstance(value, str | Path) and str(value).endswith(endings):
                    return str(value)
    return ""


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__


def _unwritable(error: OSError) -> str:
    place = error.filename2 or error.filename
    if error.errno in FULL:
        return _full(f"{place}: {error.strerror}" if place else f"{error.strerror}", "")
    if error.errno == errno.EROFS:
        remedy = "what it lies on is mounted for reading only: mount it for writing, or work in another folder"
        return f"{place or 'a file'} cannot be written ({error.strerror}); {remedy}"
    return f"{place or 'a file'} cannot be written or read ({error.strerror}); mend its permissions and run again"


def _full(line: str, stage: str) -> str:
    return (
        f"the disk is full ({line}); free some space (`df -h` tells where, `dvc gc --workspace` drops results that no "
        "file names) and run again: what was done stays"
    )


def _failing(line: str, stage: str) -> str:
    return f"the disk does not take what is written ({line}): free some space or mend it, and run again"


def _memory(line: str, stage: str) -> str:
    if not stage:
        return f"memory is not enough ({line}); end other programs, or raise the limit (`ulimit -v`), and run again"
    key = f"{stage}.batch_tokens" if stage == "finetune" else f"{stage}'s batch size in params.yaml"
    return f"memory is not enough ({line}); lower {key} and run again"


def _many(line: str, stage: str) -> str:
    limit = "open files: raise it (`ulimit -n 4096`)" if "open files" in line else "processes and threads (`ulimit -u`)"
    return f"this machine refuses ({line}) beyond its limit of {limit}, and run again"


def _lockless(line: str, stage: str) -> str:
    return line


def _serverless(line: str, stage: str) -> str:
    return (
        "PREFECT_SERVER_EPHEMERAL_ENABLED: Prefect may start no server of its own, and PREFECT_API_URL names none: "
        "unset the first, or start one (`mmesid up`) and set the second"
    )


def _damaged(line: str, stage: str) -> str:
    where = "; where init_codes.backbone names a folder or file, fetch it again" if stage in _BACKBONE else ""
    return f"a file of weights is damaged or cut short ({line}): delete it and run `dvc repro`, which makes it{where}"


def _mlflow(line: str, stage: str) -> str:
    place = os.environ.get("MLFLOW_TRACKING_URI") or "mlruns/mlflow.db of this folder (MLFLOW_TRACKING_URI is not set)"
    named = f"MLFLOW_TRACKING_URI={place}" if os.environ.get("MLFLOW_TRACKING_URI") else place
    return f"MLflow at {named} does not do what was asked ({line}); `mmesid doctor` looks at it"


def _prefect(line: str, stage: str) -> str:
    if place := os.environ.get("PREFECT_API_URL"):
        remedy = "start it (`mmesid up`) or unset PREFECT_API_URL"
    else:
        place = "a server of this process's own (PREFECT_API_URL is not set)"
        remedy = "run again when the machine is less busy, or set PREFECT_API_URL to the server that `mmesid up` starts"
    return f"Prefect at {place} does not do what was asked ({line}); {remedy}"


def _proxy(line: str, stage: str) -> str:
    named = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    return f"a proxy of the environment cannot be used ({line}): correct {' or '.join(named) or 'it'}, or unset it"


def _settings(line: str, stage: str) -> str:
    return (
        f"Prefect does not take one of its settings ({line}): correct or unset the variable PREFECT_... that sets it, "
        "or correct .prefect/profiles.toml"
    )


def _parameters(line: str, stage: str) -> str:
    return f"the flow does not take these parameters ({line}); `--help` lists what it takes"


def _configuration(line: str, stage: str) -> str:
    line = re.sub(r"PosixPath\((.*?)\)", r"\1", line)
    return f"a configuration file is damaged ({line}): correct it, or `git checkout` it (.dvc/config is in git)"


def _diverged(line: str, stage: str) -> str:
    return diverged(stage, line)


def _unanswered(line: str, stage: str) -> str:
    return f"a server does not answer ({line}); `mmesid doctor` looks at MLFLOW_TRACKING_URI and PREFECT_API_URL"


def _held(line: str, stage: str) -> str:
    return line


def _dvc(line: str, stage: str) -> str:
    return f"DVC refuses ({line}); `mmesid doctor` looks at git, .dvc/config and dvc.lock"


def _kind(pattern: str, sentence: Callable[[str, str], str]) -> Kind:
    return Kind(re.compile(pattern, re.IGNORECASE | re.DOTALL), sentence)


_BACKBONE = ("init_codes", "finetune", "evaluate", "")
KINDS = (  # the first that fits; what says more comes first
    _kind(r"no space left|storagefull|disk is full|quota exceeded|file too large|\d+ requested and \d+ written", _full),
    _kind(r"disk i/o error", _failing),
    _kind(r"out of memory|can(?:no|')t allocate memory|failed to map segment|^builtins\.MemoryError", _memory),
    _kind(r"too many open files|can't start new thread", _many),
    _kind(r" cannot be locked \(", _lockless),
    _kind(r"no prefect api url provided", _serverless),
    _kind(r"contains nan|hold nan|nan or inf|not finite", _diverged),
    _kind(r"SafetensorError|PytorchStreamReader|unpicklingerror|incomplete metadata|header too large", _damaged),
    _kind(r"^mlflow\.|^sqlalchemy\.|^sqlite3\.", _mlflow),
    _kind(r"^prefect\.exceptions\.Parameter", _parameters),
    _kind(r"^pydantic_core\.\S+ValidationError: \d+ validation errors? for \w*Settings", _settings),
    _kind(r"^prefect\.|ephemeral prefect", _prefect),
    _kind(r"^(configparser|configobj)\.", _configuration),
    _kind(r"^(httpx|httpcore|requests|urllib3)\b.*(connect|timeout|timed out|proxy)", _unanswered),
    _kind(r"^builtins\.TimeoutError: .* has been held for", _held),
    _kind(r"^builtins\.(ValueError: (Unknown scheme for proxy|Proxy protocol)|ImportError: Using SOCKS proxy)", _proxy),
    _kind(r"^builtins\.(ConnectionRefused|ConnectionReset|Timeout)", _unanswered),
    _kind(r"^dvc", _dvc),
)
