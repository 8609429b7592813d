"""Laws of the score: padding is nothing, an absent modality never counts, batches do not matter, the sums are exact."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmesid.artifacts.windows import training_windows
from mmesid.evaluation.ranking import best
from mmesid.recommender import building, older
from mmesid.recommender.adapter import add_lora, merge
from mmesid.recommender.building import scale_scores
from mmesid.recommender.inference import Scorer
from mmesid.recommender.loss import scores
from mmesid.recommender.model import Blueprint
from mmesid.recommender.packing import pack
from mmesid.recommender.table_items import TableItems

from . import reference
from . import tiny_recommender as tiny


@pytest.fixture(params=["tied", "tied with ids", "tied without codes", "tied, codes alone", "tied, linear", "table"])
def init_settings(request):
    return tiny.init_settings(request.param)


@pytest.fixture
def table_model(embeddings, semantic_ids, sequences):
    return tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings("table"))


@pytest.fixture
def tied_model(embeddings, semantic_ids, sequences):
    return tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings("tied with ids"))


def _scores(model, histories):
    score = Scorer(model)
    return torch.cat([score(histories[start : start + 7]) for start in range(0, len(histories), 7)])


def _parts(model):
    """Its modalities by name."""
    return dict((model.items.input if isinstance(model.items, TableItems) else model.items).modalities)


def test_fusion_weights_sum_to_one_and_skip_absent_modalities(table_model, embeddings):
    weights = table_model.items.fusion()
    assert torch.allclose(weights.sum(dim=1), torch.ones(len(weights)))
    for column, modality in enumerate(table_model.blueprint.score_modalities, start=1):
        absent = torch.from_numpy(~embeddings[modality].present)
        assert (weights[absent, column] == 0).all()


def test_equal_frequencies_are_all_zero(model):
    from mmesid.recommender.fusion import FrequencyFusion

    fusion = FrequencyFusion(torch.full((5,), 3), torch.ones(5, 1, dtype=torch.bool), 1.0)
    assert (fusion.frequency == 0).all()


@pytest.mark.parametrize("targets", [9, 90])
def test_training_scores_equal_the_projected_catalogue(model, targets):
    """Fewer targets than the backbone is wide, and more: the two ways to the same scores."""
    hidden = torch.randn(targets, model.blueprint.hidden)
    assert torch.allclose(model.logits(hidden)[:, 1:], reference.logits(model, hidden)[:, 1:], atol=1e-4)
    users = model.items.users(hidden)
    assert torch.allclose(model.logits(hidden)[:, 1:], (users @ model.fused_items().T)[:, 1:], atol=1e-4)


def test_both_ways_to_the_scores_have_the_same_gradients(table_model):
    hidden = torch.randn(9, table_model.blueprint.hidden)
    gradients, items = [], table_model.items
    for score in (lambda hidden: scores(items.factors_by_user(hidden)), lambda hidden: hidden @ items.matrix().T):
        table_model.zero_grad()
        F.cross_entropy(score(hidden)[:, 1:], torch.arange(9)).backward()
        gradients.append({name: p.grad.clone() for name, p in table_model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5, rtol=1e-3), name


def test_items_enter_a_pretrained_backbone_at_the_size_of_words(model):
    entering = model.items.inputs(torch.arange(1, tiny.N_ITEMS + 1))
    assert entering.square().mean().sqrt().item() == pytest.approx(tiny.INPUT_SCALE, rel=0.01)


@pytest.mark.parametrize("size", [1.0, 50.0])
def test_a_learned_table_starts_near_chance_however_large_hidden_states_are(model, sequences, size):
    with torch.no_grad():
        model.backbone.norm.weight.mul_(size)
    before = model.state_dict()["items.score_scale"].clone() if isinstance(model.items, TableItems) else None
    histories = [history for history in sequences.train() if len(history)]
    scale_scores(model, histories)
    found = Scorer(model)(histories)[:, 1:]
    loss = (found.logsumexp(dim=1) - found.mean(dim=1)).mean()  # of targets drawn at random
    if before is None:
        assert "items.score_scale" not in model.state_dict()
    else:
        assert before == 1
        assert loss < math.log(tiny.N_ITEMS) + building.NEAR_CHANCE
        assert model.items.score_scale < 0.5 or size == 1


def test_a_table_of_an_earlier_release_has_no_scales(table_model):
    old = {name: tensor for name, tensor in table_model.state_dict().items() if not name.endswith("_scale")}
    assert older.todays(old)["items.score_scale"] == 1


def test_padding_is_never_a_class_and_never_trained(model, sequences):
    batch = pack(training_windows(sequences.train(), 8), model.blueprint.prompt, 96)
    logits = model.logits(model.represent(batch))
    assert (logits[:, 0] == float("-inf")).all()
    F.cross_entropy(logits, batch.labels).backward()
    own = model.items.table if isinstance(model.items, TableItems) else model.items.ids
    assert own is None or own.grad[0].abs().max() == 0
    assert own is None or (own[0] == 0).all()


def test_an_absent_modality_changes_nothing(model, sequences, embeddings):
    histories = sequences.history("test")
    before = _scores(model, histories)
    with torch.no_grad():
        for modality, part in _parts(model).items():
            absent = torch.from_numpy(~embeddings[modality].present)
            part.embedding[absent] = 1e3
            part.codes[absent] = 2
    assert torch.equal(_scores(model, histories), before)


def test_permuting_users_permutes_scores(model, sequences):
    histories = sequences.history("test")
    order = np.random.default_rng(0).permutation(len(histories))
    permuted = _scores(model, [histories[user] for user in order])
    assert torch.allclose(permuted[:, 1:], _scores(model, histories)[torch.from_numpy(order)][:, 1:], atol=1e-4)


def test_a_user_alone_scores_as_in_a_batch(model, sequences):
    histories = sequences.history("test")
    together = _scores(model, histories)
    for user in (0, 7, 8):
        assert torch.allclose(_scores(model, [histories[user]])[0, 1:], together[user, 1:], atol=1e-4)


def test_batched_inference_equals_one_user_at_a_time(model, sequences):
    histories = [history[-model.blueprint.history_length :] for history in sequences.history("test")]
    with torch.inference_mode():
        alone = torch.stack([reference.represent_prefix(model, history) for history in histories])
        scores = reference.logits(model, alone)
    found = best(Scorer(model), histories, 5, exclude_history=False)
    wanted = scores.topk(5).values  # of items, which may be equal
    assert torch.allclose(scores.gather(1, torch.from_numpy(found.items)), wanted, atol=1e-4)
    assert torch.allclose(torch.from_numpy(found.scores), wanted, atol=1e-4)


def test_items_that_stand_alone_are_scored_as_they_are_trained(model, sequences):
    model.blueprint = dataclasses.replace(model.blueprint, prompt=model.blueprint.prompt._replace(before=[]))
    histories = [history[-model.blueprint.history_length :] for history in sequences.history("test")]
    with torch.inference_mode():
        alone = torch.stack([reference.represent_prefix(model, history) for history in histories])
        wanted = reference.logits(model, alone)
    assert torch.allclose(_scores(model, histories)[:, 1:], wanted[:, 1:], atol=1e-4)


def test_recommendations_leave_out_the_history(model, sequences):
    histories = sequences.history("test")
    found = best(Scorer(model), histories, 6, exclude_history=True)
    for history, items, values in zip(histories, found.items, found.scores, strict=True):
        assert not set(items[np.isfinite(values)]) & set(history)
        assert (np.diff(values[np.isfinite(values)]) <= 0).all()


def test_code_tables_start_as_codebooks(model, semantic_ids):
    for modality, table in model.items.code_tables().items():
        assert np.array_equal(table.numpy(), semantic_ids.codebooks[modality])


def test_random_tables_keep_the_norms(semantic_ids):
    codebooks = torch.from_numpy(semantic_ids.codebooks["text"])
    random = building.random_tables(codebooks, "text", 0)
    assert torch.allclose(random.norm(dim=-1), codebooks.norm(dim=-1), atol=1e-5)
    assert not torch.allclose(random, codebooks, atol=0.1)
    large = torch.ones(3, 64, 16)
    directions = torch.stack([building.random_tables(large, m, 0).flatten() for m in ("text", "image")])
    assert abs(float(torch.corrcoef(directions)[0, 1])) < 0.1, "each modality has a stream of its own"


def test_every_start_of_the_item_table_has_its_deviation(embeddings):
    for name, start in building.ITEM_TABLES.items():
        table = start(embeddings, 12, 0.04, 0)
        assert table.shape == (41, 12), name
        assert 0.03 < float(table[1:].std()) < 0.05, name


def test_the_content_table_is_white(embeddings):
    """24 items have both modalities in full; over all with any, the kept directions are uncorrelated and equal."""
    known = embeddings["text"].present | embeddings["image"].present
    table = building.content_table(embeddings, 8, 1.0, 0)[torch.from_numpy(known)].double()
    covariance = (table - table.mean(dim=0)).T @ (table - table.mean(dim=0)) / len(table)
    assert torch.allclose(covariance, torch.eye(8, dtype=torch.float64), atol=1e-3)


def test_a_blueprint_survives_json(model):
    import json

    plain = json.loads(json.dumps(model.blueprint.to_json(), sort_keys=True))
    restored = Blueprint.from_json(plain)
    assert restored == model.blueprint
    assert list(restored.shapes) == list(_parts(model))


def test_reload_gives_identical_scores_and_is_strict(model, sequences):
    import copy

    histories = sequences.history("test")
    saved = building.checkpoint(model)
    restored = building.restore(saved, copy.deepcopy(model.backbone))
    assert torch.equal(_scores(restored, histories), _scores(model, histories))
    incomplete = {name: tensor for name, tensor in saved.weights.items() if "codes" not in name}
    with pytest.raises(RuntimeError, match="does not fit"):
        building.restore(saved._replace(weights=incomplete), copy.deepcopy(model.backbone))


def test_a_merged_adapter_gives_the_same_scores(model, sequences, finetune_settings):
    add_lora(model, finetune_settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would change nothing
                weight.normal_(std=0.3)
    histories = sequences.history("test")
    apart = _scores(model, histories)
    model.backbone = merge(model.backbone)
    assert not [name for name, _ in model.named_modules() if "lora" in name]
    assert torch.allclose(_scores(model, histories)[:, 1:], apart[:, 1:], atol=1e-4)


def test_an_adapter_beside_half_precision_stays(model, finetune_settings):
    model.backbone.to(torch.bfloat16)  # it would round the adapter's small changes away
    add_lora(model, finetune_settings)
    assert hasattr(merge(model.backbone), "peft_config")


def test_an_unseen_item_has_no_id_and_scores_by_its_content(embeddings, semantic_ids, sequences):
    """Two items of equal content, one of them never taken in training: without ids they are one, with ids they differ
    only by the id of the item that was taken."""
    frequency = sequences.train_frequency()
    unseen, twin = int(np.flatnonzero(frequency[1:] == 0)[0]) + 1, int(np.argmax(frequency))
    for modality, embedding in embeddings.items():
        embedding.matrix[unseen], embedding.present[unseen] = embedding.matrix[twin], embedding.present[twin]
        semantic_ids.codes[modality][unseen] = semantic_ids.codes[modality][twin]
    for way, equal in (("tied", True), ("tied with ids", False)):
        model = tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings(way))
        scores = _scores(model, sequences.history("test"))
        assert torch.allclose(scores[:, unseen], scores[:, twin], atol=1e-5) == equal
        if not equal:
            with torch.no_grad():
                model.items.ids[unseen] = 100.0  # a weight that nothing has trained moves no score
            assert torch.equal(_scores(model, sequences.history("test")), scores)
            with torch.no_grad():
                model.items.ids[twin] = 0.0
            without = _scores(model, sequences.history("test")[:1])
            assert torch.allclose(without[:, unseen], without[:, twin], atol=1e-5)


def test_inputs_have_the_size_that_the_backbone_expects_and_scores_are_bounded(tied_model, sequences):
    inputs = tied_model.items.inputs(torch.arange(1, 41))
    assert torch.allclose(inputs.square().mean(dim=-1).sqrt(), torch.full((40,), tiny.INPUT_SCALE), rtol=1e-3)
    scores = _scores(tied_model, sequences.history("test"))[:, 1:]
    assert scores.abs().max() <= 1 / tied_model.blueprint.temperature + 1e-4


def test_items_of_which_no_modality_is_used_have_ids(embeddings, semantic_ids, sequences):
    settings = tiny.init_settings("tied").model_copy(update={"item_modalities": [], "item_codes": []})
    model = tiny.tiny_model(embeddings, semantic_ids, sequences, settings)
    assert model.items.ids is not None
    assert torch.isfinite(_scores(model, sequences.history("test"))[:, 1:]).all()


def test_embeddings_and_codes_are_chosen_apart(embeddings, semantic_ids, sequences):
    settings = tiny.init_settings("tied").model_copy(update={"item_codes": list(embeddings)})
    model = tiny.tiny_model(embeddings, semantic_ids, sequences, settings)
    assert {m: bool(shape.width) for m, shape in model.blueprint.shapes.items()} == {
        "collaborative": False,  # known by its semantic ID alone
        "text": True,
        "image": True,
    }
    assert model.items.part("collaborative").adaptor is None
    assert list(model.items.code_tables()) == ["collaborative", "text", "image"]
    without = tiny.tiny_model(embeddings, semantic_ids, sequences, tiny.init_settings("tied without codes"))
    assert list(without.blueprint.shapes) == ["text", "image"]
    assert without.items.code_tables() == {}


def test_a_dataset_without_any_embedding_that_is_named_gives_what_it_has(embeddings, semantic_ids, sequences):
    alone = {"collaborative": embeddings["collaborative"]}
    model = tiny.tiny_model(alone, semantic_ids, sequences, tiny.init_settings("tied"))
    assert model.items.part("collaborative").adaptor is not None


def test_a_checkpoint_of_an_older_release_loads(table_model, sequences):
    """Before items were a module of their own, their tensors had other names and the blueprint fewer keys."""
    saved = building.checkpoint(table_model)
    old = dict(saved.weights)
    for before, now in older.RENAMED.items():
        old = {name.replace(now, before, 1) if name.startswith(now) else name: t for name, t in old.items()}
    config = {key: value for key, value in saved.config.items() if key not in ("items", "temperature", "item_id")}
    again = building.restore(saved._replace(config=config, weights=old), table_model.backbone)
    histories = sequences.history("test")
    assert torch.equal(_scores(again, histories), _scores(table_model, histories))


def test_a_tied_checkpoint_that_normed_its_embeddings_in_every_step_answers_as_it_did(tied_model, sequences):
    saved = building.checkpoint(tied_model)
    old = dict(saved.weights)
    for modality in tied_model.blueprint.shapes:
        prefix = f"items.modalities.{modality}."
        embedding, gain = torch.randn_like(old[f"{prefix}embedding"]), torch.rand(old[f"{prefix}embedding"].shape[1])
        normed = F.rms_norm(embedding, embedding.shape[1:], gain, eps=1e-6)
        part = tied_model.items.part(modality)
        with torch.no_grad():
            part.embedding.copy_(normed)
        old[f"{prefix}embedding"] = embedding
        for now, before in ((2, 3), (0, 1)):
            for name in ("weight", "bias"):
                old[f"{prefix}adaptor.{before}.{name}"] = old.pop(f"{prefix}adaptor.{now}.{name}")
        old[f"{prefix}adaptor.0.weight"] = gain
    again = building.restore(saved._replace(weights=old), tied_model.backbone)
    histories = sequences.history("test")
    assert torch.allclose(_scores(again, histories)[:, 1:], _scores(tied_model, histories)[:, 1:], atol=1e-3)
