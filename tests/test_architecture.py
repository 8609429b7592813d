"""The map, as laws: who may import whom, which package has which door, and what `dvc.yaml` must name.

Everything is read from the code's imports (`ast`), those inside functions and under TYPE_CHECKING included.
"""

import ast
import functools
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from mmesid.config import Config

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mmesid"
ROOMS = ("data", "encoders", "tokenizer", "recommender", "evaluation", "reporting")
JUDGES = ("mmesid.evaluation.metrics", "mmesid.evaluation.ranking")
TYPES = ("mmesid.artifacts", "mmesid.config", "mmesid.errors", "mmesid")
ROOM_NAMES = tuple(f"mmesid.{room}" for room in ROOMS)

# Layer -> what its modules may import from the project, beside themselves. A name stands for all that lies below it.
MAY_IMPORT = {
    "mmesid": (),
    "mmesid.errors": (),
    "mmesid.artifacts": ("mmesid.errors",),
    "mmesid.config": ("mmesid.errors",),
    **dict.fromkeys(ROOM_NAMES, (*TYPES, *JUDGES)),
    "mmesid.tracking": TYPES,
    "mmesid.serving": (*TYPES, *JUDGES, "mmesid.recommender"),
    "mmesid.registry": (*TYPES, "mmesid.evaluation", "mmesid.tracking", "mmesid.serving"),
    "mmesid.stages": (*TYPES, *ROOM_NAMES, "mmesid.tracking"),
    "mmesid.commands.add": (*TYPES, "mmesid.data"),
    "mmesid.pipeline.mend": (),
    "mmesid.commands.screen": (),
    "mmesid.pipeline.graph": ("mmesid.errors",),
    "mmesid.commands.plan": (*TYPES, "mmesid.pipeline.graph", "mmesid.tracking"),
    "mmesid.commands.compare": (*TYPES, "mmesid.evaluation", "mmesid.reporting", "mmesid.tracking"),
    "mmesid.commands.remote": ("mmesid.errors",),
    "mmesid.commands.doctor": (*TYPES, "mmesid.pipeline.mend", "mmesid.tracking", "mmesid.registry"),
    "mmesid.commands.cli": (
        *TYPES,
        "mmesid.commands.add",
        "mmesid.commands.compare",
        "mmesid.commands.doctor",
        "mmesid.pipeline.mend",
        "mmesid.commands.plan",
        "mmesid.commands.remote",
        "mmesid.commands.screen",
        "mmesid.tracking",
        "mmesid.registry",
        "mmesid.serving",
    ),
    "flows": (*TYPES, "mmesid.pipeline", "mmesid.servers", "mmesid.tracking", "mmesid.registry", "mmesid.serving"),
}

# Package -> the only modules that may import it.
DOORS = {
    "prefect": ("flows",),
    "dvc": ("flows", "mmesid.pipeline.graph", "mmesid.commands.remote"),
    "mlflow": ("mmesid.tracking", "mmesid.registry", "mmesid.serving"),
    "great_expectations": ("mmesid.data.expectations",),
    "open_clip": ("mmesid.encoders",),
    "peft": ("mmesid.recommender",),
    "transformers": ("mmesid.recommender", "mmesid.encoders.llm2clip"),
    "matplotlib": ("mmesid.reporting",),
    "typer": ("mmesid.commands.cli",),
    "psycopg2": ("flows",),
    "boto3": ("flows",),
}

# A room neither waits, nor looks at the clock, the environment or other processes.
OUTSIDE_ROOMS = {
    "os",
    "time",
    "subprocess",
    "socket",
    "tempfile",
    "urllib",
    "httpx",
    "requests",
    "logging",
    "threading",
}

# What a bare GPU node has. The parameters' sections are pydantic models read from YAML.
BARE_NODE = ("torch", "transformers", "peft", "numpy", "pandas", "scikit-learn", "pydantic", "pyyaml")
TRAINING_ROOMS = ("encoders", "tokenizer", "recommender", "evaluation")
ORCHESTRATORS = ("prefect", "mlflow", "dvc", "great_expectations", "typer")

MAX_FILE, MAX_FUNCTION = 300, 60  # lines: the law; 250 and 40 are the style


def module_name(path: Path) -> str:
    base = ROOT if path.is_relative_to(ROOT / "flows") else ROOT / "src"
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def source_files() -> dict[str, Path]:
    found = [*SOURCE.rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    return {module_name(path): path for path in sorted(found)}


FILES = source_files()


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that `module` imports; `from mmesid.data import sample` counts as mmesid.data.sample."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in FILES else str(node.module))
    return frozenset(found)


def below(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or (name != "mmesid" and module.startswith(f"{name}.")) for name in names)


def layer_of(module: str) -> str:
    fitting = [layer for layer in MAY_IMPORT if below(module, (layer,))]
    assert fitting, f"{module} lies in no layer of the map: name it in MAY_IMPORT, and in the README's map"
    return max(fitting, key=len)


def project_imports(module: str) -> set[str]:
    return {name for name in imports_of(module) if name.partition(".")[0] in ("mmesid", "flows")}


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down_only_and_rooms_never_import_each_other(module: str) -> None:
    layer = layer_of(module)
    allowed = (layer, *MAY_IMPORT[layer])
    forbidden = {name for name in project_imports(module) if not below(name, allowed)}
    assert not forbidden, f"{module} ({layer}) may import {allowed}, not {forbidden}"


@pytest.mark.parametrize("package", DOORS)
def test_a_package_has_one_door(package: str) -> None:
    users = {m for m in FILES if any(name.partition(".")[0] == package for name in imports_of(m))}
    assert not {module for module in users if not below(module, DOORS[package])}


@pytest.mark.parametrize("module", [module for module in FILES if below(module, ROOM_NAMES)])
def test_a_room_has_no_clock_environment_network_or_processes(module: str) -> None:
    assert not {name for name in imports_of(module) if name.partition(".")[0] in OUTSIDE_ROOMS}


@pytest.mark.parametrize("module", FILES)
def test_files_and_functions_stay_readable(module: str) -> None:
    lines = len(FILES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE, f"{FILES[module]} has {lines} lines"
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{module}.{node.name} has {length} lines"


@pytest.mark.parametrize("module", FILES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module)), f"{FILES[module]} has no docstring"


IMPORT_WITHOUT = """
import importlib, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {blocked!r} else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for name in {modules!r}:
    importlib.import_module(name)
"""


def import_without(blocked: set[str], modules: list[str]) -> None:
    code = IMPORT_WITHOUT.format(blocked=blocked, modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.pipeline
def test_rooms_import_without_orchestrators() -> None:
    rooms = [module for module in FILES if below(module, ("mmesid.data", "mmesid.reporting"))]
    import_without(set(ORCHESTRATORS), rooms)


@pytest.mark.pipeline
def test_training_rooms_import_on_a_bare_node() -> None:
    rooms = [module for module in FILES if below(module, tuple(f"mmesid.{room}" for room in TRAINING_ROOMS))]
    import_without(not_on_a_bare_node(), rooms)


def not_on_a_bare_node() -> set[str]:
    """Top-level modules of installed packages that BARE_NODE does not need."""
    there = requirements_of(BARE_NODE)
    owners = metadata.packages_distributions()
    names = {name: {canonical(owner) for owner in dists} for name, dists in owners.items()}
    return {name for name, dists in names.items() if not dists & there and name not in ("mmesid", "flows")}


def requirements_of(packages: tuple[str, ...]) -> set[str]:
    """The packages and all that they require on this machine, extras left out."""
    found: set[str] = set()
    waiting = [canonical(package) for package in packages]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        found.add(package)
        wanted = [Requirement(text) for text in metadata.requires(package) or []]
        waiting += [canonical(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
ENTRIES = sorted(name.rpartition(".")[2] for name in FILES if name.startswith("mmesid.stages.") and "entry" not in name)


def test_one_name_for_stage_entry_section_and_folder() -> None:
    sections = [field.alias or name for name, field in Config.model_fields.items()]
    assert sorted(PIPELINE) == ENTRIES
    assert sorted(sections) == sorted([*PIPELINE, "dataset", "seed"])
    assert sorted(PARAMS) == sorted([*PIPELINE, "datasets", "seed"])


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_runs_its_entry_reads_its_section_and_writes_its_folder(stage: str) -> None:
    definition = PIPELINE[stage]
    assert definition["cmd"].startswith(f"python -m mmesid.stages.{stage}")
    if stage == "report":
        return
    dataset = "${item.dataset}"
    assert definition["cmd"].endswith(f" {dataset}")
    sections = [name for name in definition["params"] if isinstance(name, str) and name != "seed"]
    overrides = [name for name in definition["params"] if isinstance(name, dict)]
    assert sections == [stage]
    assert overrides == [{f"conf/{dataset}.yaml": [stage]}]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in definition["outs"]]
    assert all(out.startswith(f"data/{dataset}/{stage}") for out in outs)


def code_of(stage: str) -> set[str]:
    """Modules whose change may change the stage's result: what its entry imports, directly or not.

    A log line, a new key or a clearer message must not retrain a model, so those modules do not count.
    """
    uncounted = ("mmesid", "mmesid.config", "mmesid.errors", "mmesid.tracking", "mmesid.stages.entry")
    found: set[str] = set()
    waiting = [f"mmesid.stages.{stage}"]
    while waiting:
        module = waiting.pop()
        empty = module in FILES and not tree_of(module).body[1:]  # an __init__ that holds a docstring only
        if module in found or below(module, uncounted) or empty:
            continue
        found.add(module)
        waiting += project_imports(module)
    return found


@pytest.mark.parametrize("stage", PIPELINE)
def test_code_dependencies_are_what_the_entry_imports(stage: str) -> None:
    named = [ROOT / dep for dep in PIPELINE[stage]["deps"] if dep.startswith("src/")]
    needed = {FILES[module] for module in code_of(stage)}
    forgotten = {path for path in needed if not any(path.is_relative_to(dep) for dep in named)}
    code = {dep for dep in named if dep.is_dir() or dep.suffix == ".py"}  # the rest are files that code reads
    idle = {dep for dep in code if not any(path.is_relative_to(dep) for path in needed)}
    assert not forgotten, f"{stage} imports {forgotten}, which its deps in dvc.yaml do not name"
    assert not idle, f"{stage} names {idle} in dvc.yaml and imports nothing of it"


LOADERS = {
    node.name: node
    for module in FILES
    if below(module, ("mmesid.artifacts",))
    for node in tree_of(module).body
    if isinstance(node, ast.FunctionDef) and "load" in node.name
}


def stages_read_by(function: str) -> set[str]:
    """Folders that a load function of `artifacts` opens: the names it passes to `store.folder`."""
    calls = [call for call in ast.walk(LOADERS[function]) if isinstance(call, ast.Call)]
    names = {str(a.value) for call in calls for a in call.args if isinstance(a, ast.Constant)}
    by_modality = any(isinstance(call.func, ast.Name) and call.func.id == "_encoder" for call in calls)
    return (names & set(PIPELINE)) | ({"encode_collaborative", "encode_content"} if by_modality else set())


def data_of(stage: str) -> set[str]:
    """Stages whose output the entry loads, by the load functions and folders that its text names."""
    found: set[str] = set()
    for node in ast.walk(tree_of(f"mmesid.stages.{stage}")):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        constants = {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
        if name in LOADERS:
            found |= stages_read_by(name) | (constants & set(PIPELINE))
        elif name == "folder":
            found |= constants & set(PIPELINE)
    return found - {stage}


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if stage != "report"])
def test_data_dependencies_are_what_the_entry_loads(stage: str) -> None:
    named = {dep.split("/")[2] for dep in PIPELINE[stage]["deps"] if dep.startswith("data/")}
    gate = {"validate"} if stage == "prepare" else set()  # waits for the gate without reading its result
    assert named == data_of(stage) | gate
