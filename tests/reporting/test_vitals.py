"""The report's table of how fine-tuning began and went."""

from mmesid.models import backbone_label
from mmesid.reporting import vitals

CURVES = [
    {"step": 0, "first_loss": 7.081, "chance": 6.906, "input_rms": 0.122, "word_rms": 0.115, "hidden_rms": 1.66},
    {"step": 10, "loss": 6.92, "update_adapter": 0.25, "update_adaptors": 0.5, "update_tables": 0.25},
    {"step": 20, "loss": 4.4},
    {"step": 20, "epoch": 1, "input_rms": 0.2, "word_rms": 0.115, "hidden_rms": 1.7, "update_adapter": 0.1},
]


def test_start_and_end_stand_beside_each_other() -> None:
    rows = vitals.rows(CURVES)
    assert rows[0] == ("Loss (chance: 6.91)", "7.08", "4.40")
    assert ("Size of items beside them", "0.122", "0.2") in rows
    assert ("Share of the update in the backbone", "25.0%", "10.0%") in rows


def test_the_first_loss_stands_there_at_both_sizes_of_the_scores() -> None:
    rows = vitals.rows([{**CURVES[0], "full_size_loss": 9.871}, *CURVES[1:]])
    assert rows[0] == ("Loss (chance: 6.91)", "7.08", "4.40")
    assert rows[1] == ("Loss, scores at full size from the start", "9.87", "4.40")


def test_curves_of_earlier_releases_have_no_table() -> None:
    assert vitals.rows([]) == []
    assert vitals.rows([{"step": 10, "loss": 6.9}]) == []


def test_a_backbone_says_how_much_of_it_there_is() -> None:
    found = {"name": "smollm2", "layers": 6, "dtype": "bfloat16"}
    assert vitals.backbone({"backbone": found, "adapter": "lora"}) == "smollm2, 6 layers, bfloat16, LoRA"
    assert vitals.backbone({}) == ""
    assert backbone_label("/models/llama-3", 1) == "llama-3, 1 layer"
    assert backbone_label("meta-llama/Llama-3.2-1B", None) == "meta-llama/Llama-3.2-1B"
