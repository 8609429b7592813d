"""One thin entry per DVC stage: read parameters, load, call one room, save, log.

`python -m mmesid.stages.<stage>` runs this file before the stage's own imports, which take up to ten seconds. What must
come before them is done here, and only in a process that runs a stage: an orphan must not even finish importing, OpenMP
reads its policy when torch is loaded, telemetry is switched off before a package looks, and Ctrl-C is one line.
"""

import sys

from mmesid import host

# Threads that wait by spinning would double the time of two processes on the same cores: another stage, or the process
# that sends what is logged.
SLEEPING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}

if any(argument.startswith(f"{__name__}.") for argument in sys.orig_argv):
    host.die_with_parent()
    host.set_defaults({**host.QUIET, **SLEEPING_THREADS})
    host.spare_loopback()
    host.end_at_once("stopped; run the same again to go on")
