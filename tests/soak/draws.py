"""Whom to kill and what else to break, and when, from a seed; and which processes of a checkout that is."""

import random
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from mmesid.servers.processes import marked

VICTIMS = {  # in whose command line it stands
    "stage": re.compile(r" -m mmesid\.stages\."),
    "dvc": re.compile(r" -m dvc repro "),
    "sender": re.compile(r" -m mmesid\.tracking "),
    "flow": re.compile(r"prefect\.(flow_)?engine"),
    "worker": re.compile(r" prefect worker start "),
    "prefect": re.compile(r" prefect server start | prefect\.server\."),
    "mlflow": re.compile(r" mlflow server | mlflow\.server"),
    "up": re.compile(r"mmesid up "),
}
WEIGHTS = {
    "stage": 6.0,
    "dvc": 2.0,
    "sender": 1.0,
    "flow": 8.0,
    "worker": 1.5,
    "prefect": 1.2,
    "mlflow": 1.2,
    "up": 1.2,
}
SERVING = ("worker", "prefect", "mlflow", "up")
TWICE = 0.25  # share of rounds in which a second one is killed at once
PAUSE = 3.0  # seconds between the two, at most
FAULTS = {  # of `faults`; how often
    "disk full": 4.0,
    "MLflow hangs": 2.0,
    "database locked": 2.0,
    "artifacts away": 2.0,
    "models lost": 1.0,
}
FAULTY = 0.4  # share of rounds with a fault
ALONE = 0.5  # share of those in which nothing is killed
LASTS = 30.0  # seconds that a fault lasts, at most


class Phase(NamedTuple):
    """A part of a night in which a kill falls."""

    weight: float
    seconds: float  # after its begin, at most
    victims: tuple[str, ...]


PHASES = {
    "boot": Phase(0.08, 50.0, SERVING),  # while `mmesid up` starts
    "start": Phase(0.19, 20.0, ("flow", *SERVING)),  # from the moment a retrain is asked for
    "stages": Phase(0.45, 12.0, tuple(VICTIMS)),  # from the next stage that runs
    "publish": Phase(0.28, 12.0, ("flow", *SERVING)),  # from the moment the model is to be registered
}


class Round(NamedTuple):
    """A fault, or one or two kills, or both."""

    phase: str
    seconds: float  # after the phase's begin
    victims: tuple[str, ...]
    pause: float  # seconds between two
    fault: str  # empty for none
    lasts: float  # seconds, after the last kill


def rounds(seed: int) -> Iterator[Round]:
    """Rounds without end; the same seed gives the same ones."""
    draw = random.Random(seed)
    while True:
        (name,) = draw.choices(list(PHASES), [phase.weight for phase in PHASES.values()])
        phase = PHASES[name]
        victims = draw.choices(phase.victims, [WEIGHTS[victim] for victim in phase.victims])
        if draw.random() < TWICE:
            victims.append(draw.choice([victim for victim in phase.victims if victim != victims[0]]))
        (fault,) = draw.choices(list(FAULTS), list(FAULTS.values())) if draw.random() < FAULTY else ("",)
        if fault and draw.random() < ALONE:
            victims = []
        moment, pause = draw.uniform(0, phase.seconds), draw.uniform(0, PAUSE)
        yield Round(name, moment, tuple(victims), pause, fault, draw.uniform(0, LASTS))


def processes(root: Path) -> dict[int, str]:
    """Those that `mmesid up` of a checkout has started, with their command lines."""
    commands = {}
    for process in marked({"MMESID_SERVICES": str(root)}):
        with suppress(psutil.Error):  # it has just ended
            commands[process.pid] = " ".join([*process.cmdline(), ""])
    return commands


def everyone(root: Path) -> list[psutil.Process]:
    """Processes that work in a checkout, or that its `mmesid up` has started, in whatever folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended, or is another user's
            if process.environ().get("MMESID_SERVICES") == str(root) or process.cwd() == str(root):
                found.append(process)
    return found


def alive(root: Path, victim: str) -> list[int]:
    """Processes of a kind."""
    return sorted(pid for pid, command in processes(root).items() if VICTIMS[victim].search(command))
