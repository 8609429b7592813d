"""What every stage's entry shares."""

import pytest

from mmesid.errors import ConfigError
from mmesid.stages import entry


@pytest.mark.parametrize(
    ("gpu", "wanted", "found"),
    [
        (False, None, "cpu"),
        (True, None, "cuda"),
        (True, "", "cuda"),
        (True, "cpu", "cpu"),
        (True, "cuda", "cuda"),
    ],
)
def test_a_stage_trains_on_a_gpu_unless_forbidden(gpu, wanted, found, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.delenv("MMESID_DEVICE", raising=False)
    if wanted is not None:
        monkeypatch.setenv("MMESID_DEVICE", wanted)
    assert entry.device() == found


@pytest.mark.parametrize(
    ("wanted", "message"), [("cuda:1", "CUDA_VISIBLE_DEVICES chooses"), ("gpu", "got 'gpu'"), ("cuda", "sees no GPU")]
)
def test_a_device_that_cannot_be_used_is_named(wanted, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("MMESID_DEVICE", wanted)
    with pytest.raises(ConfigError, match=message):
        entry.device()
