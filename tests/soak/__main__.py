"""The command line of the soak: progress as lines, a table of what held, status 1 if anything did not."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from mmesid import registry
from mmesid.commands import screen
from tests.soak import draws, faults, laws, world
from tests.soak.draws import Round
from tests.soak.system import FINAL, SoakError, System, kill, wait_until

REFERENCE = 0.8  # share of the kills after which only the undisturbed run's own configuration is trained, by force
LONGEST = 1800.0  # seconds after which a retrain of the tiny catalogue hangs, however busy the machine
MOMENT = 0.05  # seconds between two looks
ORPHANED = 150.0  # seconds that a run may be open without a flow: the reaper too waits that long for one
SLACK = 5.0  # seconds within which a version appears whose files were written before they were lost


class Soak:
    """A system, its world, and the kills and faults so far."""

    def __init__(self, root: Path, kills: int, seed: int) -> None:
        self.system = System(root, root.parent / "up.log")
        self.world = world.World(root, seed)
        self.root, self.kills = root, kills
        self.killed: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.placed: list[tuple[str, str]] = []
        self.lost = 0  # milliseconds since the epoch at which artifacts were gone last
        self.faults: list[str] = []
        self._run, self._asked, self._struck, self._widowed = "", 0.0, False, False
        self._orphaned = 0.0  # since when the flow is gone while its run is open; 0 where it is not so
        self._parameters: dict[str, object] = {}
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """A line with the time since the start."""
        seconds = int(time.monotonic() - self._begun)
        sys.stdout.write(f"{seconds // 60:3d}:{seconds % 60:02d}  {text}\n")
        sys.stdout.flush()

    def disturb(self, seed: int) -> None:
        """Kill and break until enough are killed."""
        drawn = draws.rounds(seed)
        while (done := self.killed.total()) < self.kills:
            chosen, since = next(drawn), time.monotonic()
            while not self.reach(chosen):
                if time.monotonic() - since > LONGEST:
                    raise SoakError(f"no retrain came to {chosen.phase} within {LONGEST:.0f} s")
                chosen = chosen._replace(seconds=chosen.seconds / 2)  # it may have been over before: sooner then
            with self.fault(chosen):
                for number, victim in enumerate(chosen.victims[: self.kills - done]):
                    time.sleep(chosen.pause if number else 0)
                    self.strike(victim, chosen)

    def reach(self, chosen: Round) -> bool:
        """Wait for a round's moment. Returns whether it has come; the retrain may be over before."""
        if chosen.phase == "boot":
            self.system.stop()
            self.system.start()
            time.sleep(chosen.seconds)
            return True
        try:
            self.system.ensure()
            self.ensure_retrain(chosen.phase)
        except httpx.HTTPError:  # a server has just been killed, and `mmesid up` is about to notice
            time.sleep(1.0)
            return False
        begun = {
            "start": lambda: True,
            "stages": lambda: draws.alive(self.root, "stage"),
            "publish": lambda: any(name.startswith("register") for name in self.system.tasks(self._run)),
        }[chosen.phase]
        wait_until(lambda: begun() or self.over(), LONGEST, f"a retrain did not come to {chosen.phase}")
        until = time.monotonic() + chosen.seconds
        while time.monotonic() < until and not self.over():
            time.sleep(10 * MOMENT)
        return not self.over()

    def over(self) -> bool:
        """Whether the retrain has ended, or `mmesid up` has."""
        if self.system.pid is None:
            return True
        state, _ = self.system.state(self._run)
        if state in ("RUNNING", "PENDING") and self.system.disturbed and not draws.alive(self.root, "flow"):
            self._close_orphan()
        else:
            self._orphaned = 0.0
        return state in FINAL

    def _close_orphan(self) -> None:
        """A flow whose end nobody could write down stays as it was until the reaper comes: a person calls it."""
        now = time.monotonic()
        self._orphaned = self._orphaned or now
        if now - self._orphaned > ORPHANED:
            self.say("the flow is gone and its run is open: mmesid reap")
            self.system.reap()
            self._orphaned = 0.0

    def ensure_retrain(self, phase: str) -> None:
        """One is under way that has something to do: the one that was, or a new one."""
        state, message = self.system.state(self._run) if self._run else ("COMPLETED", "")
        if state not in FINAL:
            if time.monotonic() - self._asked > LONGEST:
                raise SoakError(f"a retrain is {state} after {LONGEST:.0f} s")
            return
        if state != "COMPLETED" and not self._struck:
            self.faults.append(f"a retrain that nobody disturbed was {state}: {message}")
        if state == "COMPLETED" and self._run:
            self._change()
        self._bury()
        if phase == "publish" and not self.broken[faults.LOST] and self.system.place("champion", "1"):
            self.placed.append((registry.moment(), "1"))
        self._run, self._asked, self._struck = self.system.ask(**self._parameters), time.monotonic(), False

    @contextmanager
    def fault(self, chosen: Round) -> Iterator[None]:
        """Break what a round breaks, for as long as it says, and mend it."""
        if not chosen.fault:
            yield
            return
        self.say(f"{chosen.fault} for {chosen.lasts:.0f} s, {chosen.phase} + {chosen.seconds:.1f} s")
        self.broken[chosen.fault] += 1
        self._struck = self.system.disturbed = True
        with faults.FAULTS[chosen.fault](self.root):
            yield
            time.sleep(chosen.lasts)
        if chosen.fault in faults.LOSING:
            self.lost = int(1000 * (time.time() + SLACK))
        self._widowed = self._widowed or chosen.fault == faults.LOST

    def strike(self, victim: str, chosen: Round) -> None:
        """Kill one of a kind, or of another where there is none."""
        for kind in (victim, *draws.PHASES[chosen.phase].victims):
            found = [self.system.pid] if kind == "up" else draws.alive(self.root, kind)
            pids = [pid for pid in found if pid]
            if pids and kill(pid := pids[self.killed.total() % len(pids)]):
                self.killed[kind] += 1
                self._struck = True
                if kind == "up":
                    self.system.ended(10)  # its servers answer for a moment yet, and would be asked
                number = f"{self.killed.total()}/{self.kills}"
                self.say(f"{number:>6}  killed {kind} ({pid}), {chosen.phase} + {chosen.seconds:.1f} s")
                return

    def finish(self) -> None:
        """One clean retrain of the undisturbed run's configuration, and the end of everything."""
        while self.system.pid is None or self.system.state(self._run)[0] not in FINAL:
            self.system.ensure()
            wait_until(self.over, LONGEST, "the last disturbed retrain did not end")
        self.world.restore()
        self._bury()
        self._run, self._asked = self.system.ask(), time.monotonic()
        self.say("a clean retrain")
        wait_until(self.over, LONGEST, "the clean retrain did not end")
        state, message = self.system.state(self._run)
        if state != "COMPLETED":
            self.faults.append(f"the clean retrain was {state}: {message}")
        self.faults += self.system.unsettled()
        self.system.stop()

    def _bury(self) -> None:
        """What the gate asks for where nothing brings the champion's files back: its alias goes."""
        if self._widowed and self.system.take_away("champion"):
            self.placed.append((registry.moment(), ""))
            self._widowed = False

    def _change(self) -> None:
        if self.killed.total() >= REFERENCE * self.kills:
            self.world.restore()
            self._parameters = {"force": True}
            self.say("the undisturbed run's configuration, by force")
            return
        kind, self._parameters = self.world.disturb()
        self.say(f"everything was up to date; changed: {kind}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept, with its undisturbed run for the next soak; else temporary")
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="soak-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{given.kills} kills, seed {given.seed}; first an undisturbed run, in {folder}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended"))
    root, reference = world.make(folder)
    soak = Soak(root, given.kills, given.seed)
    held: dict[str, list[str]] = {}
    try:
        soak.disturb(given.seed)
        soak.finish()
        held = dict(laws.all_of_them(root, reference, soak.placed, soak.lost, os.getpid()))
    except SoakError as error:
        soak.faults.append(str(error))
    finally:
        soak.system.stop()
    found = {"retrains end, and those that nobody disturbs succeed": soak.faults, **held}
    show(soak, found)
    if any(found.values()):
        sys.exit(f"violated; everything lies in {folder}")
    if given.folder is None:
        shutil.rmtree(folder)


def show(soak: Soak, found: dict[str, list[str]]) -> None:
    """Who was killed, what was broken, and which laws hold."""
    soak.say("done")
    for done, counted in (("killed", soak.killed), ("broken", soak.broken)):
        screen.table([done, "times"], [[kind, str(times)] for kind, times in counted.most_common()])
    rows = [
        [law, "[red]no[/]" if wrong else "[green]yes[/]", screen.plain("\n".join(wrong[:20]))]
        for law, wrong in found.items()
    ]
    screen.table(["law", "holds", "violated by"], rows)


if __name__ == "__main__":
    main()
