import numpy as np

from mmesid.artifacts.curves import load_curves
from mmesid.artifacts.encode import save_embedding
from mmesid.artifacts.files import load_tensors
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_diagnostics, load_semantic_ids
from mmesid.config import load
from mmesid.stages import tokenize
from mmesid.tokenizer.model import MMRQVAE
from mmesid.tracking import StageRun


def test_the_stage_writes_ids_weights_diagnostics_and_curves(tmp_path, embeddings, settings):
    store = Store("planted", tmp_path)
    for modality, embedding in embeddings.items():
        save_embedding(store, modality, embedding)
    tokenize.run(load("sample").model_copy(update={"tokenize": settings}), store, StageRun("tokenize", None))

    folder, ids = store.folder("tokenize"), load_semantic_ids(store)
    model = MMRQVAE({name: e.matrix.shape[1] for name, e in embeddings.items()}, settings)
    model.load_state_dict(load_tensors(folder / "tokenizer.safetensors"))
    for name, autoencoder in model.by_modality().items():
        assert np.array_equal(autoencoder.quantizer.codebooks.detach().numpy(), ids.codebooks[name])
        assert ids.codes[name].any()
    assert set(load_diagnostics(store)) == set(embeddings)
    assert len(load_curves(store, "tokenize")) == settings.epochs
