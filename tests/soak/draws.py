"""Whom to kill and when, from a seed; and which processes of a checkout that is."""

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
    """One or two kills."""

    phase: str
    seconds: float  # after the phase's begin
    victims: tuple[str, ...]
    pause: float  # seconds between two


def rounds(seed: int) -> Iterator[Round]:
    """Rounds without end; the same seed gives the same ones."""
    draw = random.Random(seed)
    while True:
        (name,) = draw.choices(list(PHASES), [phase.weight for phase in PHASES.values()])
        phase = PHASES[name]
        victims = draw.choices(phase.victims, [WEIGHTS[victim] for victim in phase.victims])
        if draw.random() < TWICE:
            victims.append(draw.choice([victim for victim in phase.victims if victim != victims[0]]))
        yield Round(name, draw.uniform(0, phase.seconds), tuple(victims), draw.uniform(0, PAUSE))


def processes(root: Path) -> dict[int, str]:
    """Those that `mmesid up` of a checkout has started, with their command lines."""
    commands = {}
    for process in marked({"MMESID_SERVICES": str(root)}):
        with suppress(psutil.Error):  # it has just ended
            commands[process.pid] = " ".join([*process.cmdline(), ""])
    return commands


def alive(root: Path, victim: str) -> list[int]:
    """Processes of a kind."""
    return sorted(pid for pid, command in processes(root).items() if VICTIMS[victim].search(command))
