"""The rows and columns of every results table: names, labels and roles of the models, and the metrics' names.

Whatever shows, compares or registers models takes these names from here. A row is offered by a function of
`mmesid.baselines`, or by the recommender itself, with late fusion and without; a metric is computed in
`mmesid.evaluation`.
"""

from typing import Literal, NamedTuple

# model: what this project trains; part: the model without one of its parts; rival: a competitor with some of them;
# baseline: a competitor as it is, which the promotion gate demands to be beaten; bound: what nothing can beat
Role = Literal["model", "part", "rival", "baseline", "bound"]


class Model(NamedTuple):
    """How a row is printed, and what it stands for."""

    label: str
    role: Role
    listed: bool = False  # whether only datasets that name it in `baselines.rivals` have the row


MODELS = {  # in the order of the tables
    "mme_sid": Model("MME-SID", "model"),
    "mme_sid_network": Model("MME-SID, network alone", "part"),
    "content_transformer_fused": Model("Content transformer, fused late", "rival", listed=True),
    "content_transformer": Model("Content transformer", "rival", listed=True),
    "sasrec_fused": Model("SASRec, fused late", "rival"),
    "sasrec": Model("SASRec", "baseline"),
    "evidence": Model("Transitions + content, no network", "part"),
    "popularity": Model("Popularity", "baseline"),
    "oracle": Model("Oracle", "bound"),
}
MAIN_MODEL = "mme_sid"  # what is registered, promoted and served
NETWORK_MODEL = "mme_sid_network"  # the same before late fusion
EVIDENCE_MODEL = "evidence"  # and late fusion without it
WITHOUT_NETWORK = (EVIDENCE_MODEL, "popularity")
MAIN_BASELINE = "sasrec"  # what it is compared with first
FUSED_BASELINE = "sasrec_fused"  # the same with our late fusion

CUTOFFS = (5, 10, 20)
# Of a user's rank of the target; per user, so that models are compared user by user.
RANK_METRICS = (*(f"ndcg_at_{k}" for k in CUTOFFS), *(f"hr_at_{k}" for k in CUTOFFS), "mrr")
# Of all users' top lists together.
LIST_METRICS = ("coverage_at_10", "novelty_at_10", "gini_at_10")
MAIN_METRIC = "ndcg_at_10"  # selects checkpoints, decides about champions
TESTED_METRICS = ("ndcg_at_5", MAIN_METRIC)  # with intervals and paired tests
BRIEF_METRICS = ("ndcg_at_5", MAIN_METRIC, "hr_at_10", "mrr")  # where there is little room

_FUSED = "_fused"
_KINDS = {"ndcg": "nDCG", "hr": "HR", "mrr": "MRR", "gini": "Gini"}  # others are printed as they are


def fused_late(name: str) -> str:
    """The row of a competitor's network with our late fusion: `sasrec` -> `sasrec_fused`."""
    return f"{name}{_FUSED}"


def alone(name: str) -> str:
    """The row of the same network before late fusion; a row that is not fused is that itself."""
    if name == MAIN_MODEL:
        return NETWORK_MODEL
    return name.removesuffix(_FUSED)


def with_role(*roles: Role) -> list[str]:
    """Names of the models that have one of these roles, in the order of the tables."""
    return [name for name, model in MODELS.items() if model.role in roles]


def model_label(name: str) -> str:
    """A model's printed name; a name that is not in MODELS is its own label."""
    return MODELS[name].label if name in MODELS else name


def backbone_label(name: str, layers: int | None, weights: str | None = None) -> str:
    """A backbone and how much of it: `smollm2, 6 layers, random weights`; a folder or a file by its own name."""
    is_path = name.startswith(("/", ".", "~")) or name.endswith(".gguf")
    short = name.rstrip("/").rpartition("/")[2] if is_path else name
    part = f"{layers} layer{'s' if layers != 1 else ''}" if layers else ""
    return ", ".join(filter(None, [short, part, "random weights" if weights == "random" else ""]))


def metric_label(name: str) -> str:
    """`ndcg_at_10` -> `nDCG@10`."""
    kind, _, cutoff = name.partition("_at_")
    label = _KINDS.get(kind, kind)
    return f"{label}@{cutoff}" if cutoff else label
