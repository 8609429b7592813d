"""`python -m mmesid.tracking JOURNAL ROOT`: the child process that sends the journal of a running stage."""

import sys
from pathlib import Path

from mmesid import host
from mmesid.tracking.delivery import follow

if __name__ == "__main__":
    host.spare_loopback()
    follow(Path(sys.argv[1]), Path(sys.argv[2]))
