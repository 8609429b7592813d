"""`params.yaml` + `conf/<dataset>.yaml` -> frozen, strict sections: one per stage, `protocol` and `gate`.

Every default stands once, in `params.yaml`; a section or key that a dataset's file lacks means its default. The stage
`configure` writes the outcome to `data/<dataset>/configure/params.yaml`, from which DVC and every other stage read.
"""

from mmesid.config.loading import (
    ABLATIONS,
    check_conf,
    check_datasets,
    datasets,
    flatten,
    known_datasets,
    load,
    split_names,
)
from mmesid.config.resolved import load_resolved, load_run, resolved_path, resolved_text, without_effect
from mmesid.config.sections import SECTIONS, Config, Evaluate, Fuse, Gate, Ingest, Prepare, Protocol, Report, Validate
from mmesid.config.training import (
    EMBEDDED,
    Baselines,
    ContentTransformer,
    EmbeddedBackbone,
    EncodeCollaborative,
    EncodeContent,
    Finetune,
    InitCodes,
    Llm2Clip,
    OpenClip,
    SentenceTransformers,
    SequentialTransformer,
    Tokenize,
    VisionModel,
)

__all__ = [
    "ABLATIONS",
    "EMBEDDED",
    "SECTIONS",
    "Baselines",
    "Config",
    "ContentTransformer",
    "EmbeddedBackbone",
    "EncodeCollaborative",
    "EncodeContent",
    "Evaluate",
    "Finetune",
    "Fuse",
    "Gate",
    "Ingest",
    "InitCodes",
    "Llm2Clip",
    "OpenClip",
    "Prepare",
    "Protocol",
    "Report",
    "SentenceTransformers",
    "SequentialTransformer",
    "Tokenize",
    "Validate",
    "VisionModel",
    "check_conf",
    "check_datasets",
    "datasets",
    "flatten",
    "known_datasets",
    "load",
    "load_resolved",
    "load_run",
    "resolved_path",
    "resolved_text",
    "split_names",
    "without_effect",
]
