"""A lock that a kill cut short is put aside; a whole one is left alone."""

from pathlib import Path

import pytest

from mmesid.pipeline.mend import ASIDE, lock_fault, mend

WHOLE = """schema: '2.0'
stages:
  ingest@sample:
    cmd: python -m mmesid.stages.ingest sample
    outs:
    - path: data/sample/ingest
      hash: md5
      md5: d41d8cd98f00b204e9800998ecf8427e.dir
"""


@pytest.mark.parametrize("text", [WHOLE, "schema: '2.0'\n"])
def test_a_whole_lock_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    assert mend(tmp_path) is None
    assert (tmp_path / "dvc.lock").read_text(encoding="utf-8") == text


def test_no_lock_is_no_fault(tmp_path: Path) -> None:
    assert mend(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "sche", "schema: '2.0'\nstages:\n  ingest@sam", "schema: '2.0'\nstages:\n  a:\n    o"]
)
def test_a_lock_cut_short_is_put_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text, encoding="utf-8")
    assert "dvc.lock" in (mend(tmp_path) or "")
    assert not (tmp_path / "dvc.lock").exists()
    assert (tmp_path / ASIDE).read_text(encoding="utf-8") == text
    assert lock_fault(tmp_path) is None
