import pytest

from mmesid.config import sizes
from mmesid.config.sizes import Size, choices, step_targets, step_windows

BEAUTY, ML1M, SAMPLE = Size(22_332, 12_086, 198_215), Size(6_040, 3_408, 999_557), Size(2_500, 999, 25_660)


def chosen(size: Size, least: int | None = None) -> dict[str, float | str]:
    found = choices(size, size.items if least is None else least)
    return {f"{choice.section}.{choice.key}": choice.value for choice in found}


def test_the_defaults_fit_a_sparse_set_of_middle_size():
    assert chosen(BEAUTY) == {}


def test_a_dense_large_set_with_long_users_is_told_so():
    assert chosen(ML1M) == {
        "protocol.history_length": sizes.LONG_HISTORY,
        "encode_collaborative.dropout": sizes.DENSE_DROPOUT,
        "init_codes.item_id": True,
        "encode_collaborative.epochs": sizes.LARGE_EPOCHS["encode_collaborative"],
        "finetune.epochs": sizes.LARGE_EPOCHS["finetune"],
        "finetune.adapter": "full",
    }


def test_a_pretrained_backbone_keeps_its_adapter():
    assert not [choice for choice in choices(ML1M, ML1M.items, backbone="smollm2") if choice.key == "adapter"]


@pytest.mark.parametrize(("items", "least", "expected"), [(999, 999, 128), (10**6, 30, 16), (5, 5, 2)])
def test_no_level_has_more_codes_than_a_quarter_of_the_items_or_than_vectors(items, least, expected):
    assert chosen(Size(100, items, 1000), least)["tokenize.codes"] == expected


def test_a_set_of_nothing_is_neither_long_nor_dense():
    assert chosen(Size(0, 0, 0)) == {"tokenize.codes": 2}


def test_every_choice_says_why():
    assert all(any(sign.isdigit() for sign in choice.reason) for choice in choices(ML1M, 20))


@pytest.mark.parametrize(
    ("targets", "expected"), [(18_160, 412), (131_219, 2982), (980_000, 4096), (300, 256), (0, 256)]
)
def test_steps_of_fine_tuning_are_a_share_of_an_epoch_within_bounds(targets, expected):
    assert step_targets(targets) == expected


@pytest.mark.parametrize(
    ("windows", "targets", "expected"),
    [
        (22_537, 6, 512),  # as many as were asked for
        (2_500, 6, 62),  # 40 steps an epoch
        (40_000, 25, 163),  # 4,096 targets
        (100, 5000, 1),
        (3, 1, 1),
    ],
)
def test_small_sets_and_long_histories_get_fewer_windows_a_step_of_sasrec(windows, targets, expected):
    assert step_windows(windows, targets * windows, 512) == expected
