"""What a kill can leave half-written that is not ours to write: `dvc.lock`.

DVC writes it in place, so a SIGKILL in that moment leaves it empty or cut short, and every later `dvc` command refuses
to work. Nothing is lost by putting it aside: DVC's run cache holds every finished stage and restores it in seconds.
"""

from pathlib import Path

import yaml

ASIDE = "dvc.lock.broken"


def mend(root: Path = Path()) -> str | None:
    """Put a damaged `dvc.lock` aside.

    Args:
        root: the project's folder.

    Returns:
        What was done, None where nothing had to be.
    """
    fault = lock_fault(root)
    if fault is None:
        return None
    (root / "dvc.lock").replace(root / ASIDE)
    return f"dvc.lock {fault}, as a kill leaves it; it lies now in {ASIDE}, and DVC restores finished stages"


def lock_fault(root: Path = Path()) -> str | None:
    """What is wrong with `dvc.lock`, None if it is whole or absent."""
    path = root / "dvc.lock"
    if not path.exists():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return "is cut short"
    if content is None:
        return "is empty"
    stages = content.get("stages", {}) if isinstance(content, dict) and "schema" in content else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) and "cmd" in stage for stage in stages.values()):
        return "is cut short"
    return None
