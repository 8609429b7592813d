"""Which model answers: versions of `mme-sid-<dataset>` in MLflow's registry, and the gate in front of `champion`.

Aliases: `challenger`, the version registered last; `champion`, the one that answers; `previous`, the champion before.
"""

from mmesid.registry.files import check_files
from mmesid.registry.gate import Clause
from mmesid.registry.leftovers import close_dead
from mmesid.registry.promotion import decisions, history, promote, reconcile, rollback
from mmesid.registry.records import Record, describe, moment
from mmesid.registry.versions import champion_of, load_champion, load_version, model_name, register, version_of

__all__ = [
    "Clause",
    "Record",
    "champion_of",
    "check_files",
    "close_dead",
    "decisions",
    "describe",
    "history",
    "load_champion",
    "load_version",
    "model_name",
    "moment",
    "promote",
    "reconcile",
    "register",
    "rollback",
    "version_of",
]
