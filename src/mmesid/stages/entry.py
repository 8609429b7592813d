"""What every stage's entry shares: `python -m mmesid.stages.<stage> <dataset>`.

It turns a person's mistakes into one clear message, and journals what the
stage logs. A stage itself is a function `run(config, store, log)`.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmesid import config as configuration
from mmesid import host, tracking
from mmesid.artifacts.store import Store, home
from mmesid.config import Config
from mmesid.errors import ConfigError, faults

Log = Callable[[dict[str, float], int], None]
Run = Callable[[Config, Store, "tracking.StageRun"], None]


def main(run: Run) -> None:
    """Run a stage for the dataset named on the command line and leave with its exit status."""
    stage, dataset = _named()
    with _explained(f"{stage}@{dataset}"):
        config, store = configuration.load_resolved(dataset), Store(dataset)
        with tracking.stage_run(stage, config) if _first() else tracking.silent_run(stage) as log:
            run(config, store, log)


def main_untracked(run: Callable[[str], None]) -> None:
    """`main` for a stage that has no parameters yet and leaves no run in MLflow."""
    stage, dataset = _named()
    with _explained(f"{stage}@{dataset}"):
        run(dataset)


def main_spread(run: Run) -> None:
    """`main` in `MMESID_PROCESSES` processes of this machine, which torchrun starts; the first one logs.

    A process that was started by a launcher (it has a `RANK`) is one of them and starts no others.
    """
    processes = os.environ.get("MMESID_PROCESSES", "1")
    if not processes.isdecimal() or int(processes) < 1:
        sys.exit(f"MMESID_PROCESSES must be a number of processes, at least 1; it is {processes!r}")
    if int(processes) > 1 and "RANK" not in os.environ and len(sys.argv) == 2:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
        os.execv(sys.executable, [*launcher, "-m", f"mmesid.stages.{Path(sys.argv[0]).stem}", sys.argv[1]])
    main(run)


def main_all(run: Callable[[Sequence[Config]], None]) -> None:
    """Run a stage once over the datasets of `params.yaml` that have begun, then send what quick stages left pending."""
    stage = Path(sys.argv[0]).stem
    if len(sys.argv) != 1:
        sys.exit(f"usage: python -m mmesid.stages.{stage}")
    with _explained(stage):
        begun = [name for name in configuration.datasets() if Path("data", name).is_dir()]
        run([configuration.load_resolved(name) for name in begun])
        tracking.send_pending()


def _named() -> tuple[str, str]:
    """The stage and the dataset that the command line names."""
    stage = Path(sys.argv[0]).stem
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m mmesid.stages.{stage} DATASET")
    return stage, sys.argv[1]


def _first() -> bool:
    """Whether this process is the only one of its stage, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """End with one message; the traceback of what nobody foresaw is in the file that the message names."""
    host.raise_interrupts()
    try:
        _check_code()
        yield
    except KeyboardInterrupt:
        host.end_at_once("")  # a second one does not wait for what is still to be closed
        sys.stderr.write(f"{name}: stopped; run the same again to go on\n")
        sys.exit(host.INTERRUPTED)
    except Exception as error:
        sys.exit(f"{name}: {faults.tell(error, Path(), name.partition('@')[0])}")


def _check_code() -> None:
    """Refuse to run another checkout's code: the `python` on PATH may belong to another environment.

    DVC runs an experiment in a temporary copy of the checkout, and its results belong to the code that was copied: then
    this process starts again with that code.
    """
    here, running = Path("src/mmesid").resolve(), Path(__file__).resolve().parents[1]
    if not here.exists() or here == running:
        return
    if home().resolve() == running.parents[1] and os.environ.get("PYTHONPATH", "").partition(os.pathsep)[0] != str(
        here.parent
    ):
        path = os.pathsep.join(filter(None, [str(here.parent), os.environ.get("PYTHONPATH")]))
        module = f"mmesid.stages.{Path(sys.argv[0]).stem}"
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, "PYTHONPATH": path})
    raise ConfigError(
        f"{sys.executable} runs the code in {running}, not in {here}: activate this folder's .venv, or use make"
    )


def one_thread() -> None:
    """For work too little to be shared: threads would cost more than they save, and change a result's last bits."""
    import torch

    torch.set_num_threads(1)


def device() -> str:
    """`MMESID_DEVICE` if set, else cuda where there is one, else cpu.

    Raises:
        ConfigError: it is neither cpu nor cuda, or cuda where torch sees no GPU.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    wanted = os.environ.get("MMESID_DEVICE") or ("cuda" if has_gpu else "cpu")
    if wanted not in ("cpu", "cuda"):
        raise ConfigError(f"MMESID_DEVICE: expected cpu or cuda, got {wanted!r}; CUDA_VISIBLE_DEVICES chooses a GPU")
    if wanted == "cuda" and not has_gpu:
        raise ConfigError("MMESID_DEVICE is cuda, but torch sees no GPU: see `mmesid doctor`, or set it to cpu")
    return wanted
