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

from mmesid.config import SECTIONS
from mmesid.pipeline import code, deps

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mmesid"
ROOMS = ("data", "encoders", "tokenizer", "recommender", "fusion", "evaluation", "baselines", "reporting")
ROOM_NAMES = tuple(f"mmesid.{room}" for room in ROOMS)
FLOOR = (
    *("mmesid", "mmesid.errors", "mmesid.host", "mmesid.models", "mmesid.kernels", "mmesid.config", "mmesid.artifacts"),
)
JUDGES = ("mmesid.evaluation.metrics", "mmesid.evaluation.ranking")

# Layer -> what its modules may import from the project, beside themselves. A name stands for all that lies below it.
MAY_IMPORT = {
    "mmesid": (),
    "mmesid.errors": (),
    "mmesid.host": (),
    "mmesid.models": (),
    "mmesid.kernels": ("mmesid.config.sizes",),
    "mmesid.config": ("mmesid.errors",),
    "mmesid.artifacts": ("mmesid.errors", "mmesid.models"),
    **dict.fromkeys(ROOM_NAMES, (*FLOOR, *JUDGES)),
    "mmesid.baselines": (
        *FLOOR,
        *JUDGES,
        "mmesid.encoders.sasrec",
        "mmesid.encoders.sasrec_training",
        "mmesid.fusion",
    ),
    "mmesid.tracking": FLOOR,
    "mmesid.serving": (*FLOOR, *JUDGES, "mmesid.recommender", "mmesid.fusion"),
    "mmesid.registry": (*FLOOR, "mmesid.evaluation", "mmesid.tracking", "mmesid.serving"),
    "mmesid.pipeline": FLOOR,
    "mmesid.pipeline.code": (),
    "mmesid.pipeline.downloads": FLOOR,  # alone in using the network for data; no room does
    "mmesid.pipeline.stage": (*FLOOR, "mmesid.servers.processes"),
    "mmesid.stages": (*FLOOR, *ROOM_NAMES, "mmesid.tracking", "mmesid.pipeline.code", "mmesid.pipeline.downloads"),
    "mmesid.servers": (*FLOOR, "mmesid.tracking", "mmesid.registry", "mmesid.serving", "mmesid.pipeline"),
    "mmesid.commands": (
        *FLOOR,
        *ROOM_NAMES,
        "mmesid.tracking",
        "mmesid.serving",
        "mmesid.registry",
        "mmesid.pipeline",
        "mmesid.servers",
    ),
    "flows": (*FLOOR, "mmesid.pipeline", "mmesid.servers", "mmesid.tracking", "mmesid.registry", "mmesid.serving"),
}

# Package -> the only modules that may import it.
DOORS = {
    "prefect": ("flows", "mmesid.servers"),
    "dvc": ("mmesid.pipeline", "mmesid.commands.remote"),
    "mlflow": ("mmesid.tracking", "mmesid.registry", "mmesid.serving"),
    "duckdb": ("mmesid.data",),
    "great_expectations": ("mmesid.data.expectations",),
    "open_clip": ("mmesid.encoders",),
    "peft": ("mmesid.recommender",),
    "transformers": ("mmesid.recommender", "mmesid.encoders"),
    "matplotlib": ("mmesid.reporting",),
    "typer": (
        "mmesid.commands.cli",
        "mmesid.commands.cli_ablate",
        "mmesid.commands.cli_add",
        "mmesid.commands.cli_paper",
        "flows",
    ),
    "psycopg2": ("mmesid.servers",),
    "boto3": ("mmesid.servers",),
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
TRAINING_ROOMS = ("encoders", "tokenizer", "recommender", "fusion", "evaluation")
ORCHESTRATORS = ("prefect", "mlflow", "dvc", "great_expectations", "typer")

MAX_FILE, MAX_FUNCTION = 300, 60  # lines: the law; 250 and 40 are the style
MAX_NAMES = 21  # at the top of src/mmesid: what a newcomer reads at a glance


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


def test_the_top_folder_is_read_at_a_glance() -> None:
    names = {path.name for path in SOURCE.iterdir()} - {"__init__.py", "__pycache__"}
    assert len(names) <= MAX_NAMES, sorted(names)


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
    script = IMPORT_WITHOUT.format(blocked=blocked, modules=modules)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.pipeline
def test_rooms_import_without_orchestrators() -> None:
    rooms = [module for module in FILES if below(module, ("mmesid.data", "mmesid.reporting"))]
    import_without(set(ORCHESTRATORS), rooms)


@pytest.mark.pipeline
def test_training_rooms_import_on_a_bare_node() -> None:
    rooms = [module for module in FILES if below(module, tuple(f"mmesid.{room}" for room in TRAINING_ROOMS))]
    import_without(not_on_a_bare_node(), rooms)


def test_configure_and_the_code_reader_import_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "pandas", "mlflow", "dvc", "transformers"}
    import_without(heavy, ["mmesid.stages.configure", "mmesid.pipeline.deps"])


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


RESOLVED = "data/${item.dataset}/configure/params.yaml"


def test_one_name_for_stage_entry_section_and_folder() -> None:
    trained = {stage for stage in PIPELINE if stage != "configure"}
    assert sorted(PIPELINE) == ENTRIES
    assert sorted(SECTIONS) == sorted({*trained, "protocol", "gate"})
    assert sorted(PARAMS) == sorted({*SECTIONS, "datasets", "seed"})


def test_configure_reads_every_section_and_the_whole_of_the_datasets_file() -> None:
    *names, whole = PIPELINE["configure"]["params"]
    assert sorted(names) == sorted([*SECTIONS, "seed"])
    assert whole == {"conf/${item.dataset}.yaml": None}


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if stage != "report"])
def test_a_stage_runs_its_entry_and_writes_its_folder(stage: str) -> None:
    definition = PIPELINE[stage]
    assert definition["cmd"] == f"python -m mmesid.stages.{stage} ${{item.dataset}}"
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in definition["outs"]]
    assert all(out.startswith(f"data/${{item.dataset}}/{stage}") for out in outs)


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if stage not in ("configure", "report")])
def test_a_stage_depends_on_the_parameters_that_it_reads(stage: str) -> None:
    (definition,) = PIPELINE[stage]["params"]
    (named,) = definition.values()
    assert definition == {RESOLVED: named}
    read = {
        node.attr.rstrip("_")
        for node in ast.walk(tree_of(f"mmesid.stages.{stage}"))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config"
    } & {*SECTIONS, "seed"}
    assert read <= set(named), "dvc.yaml must name what the entry reads"
    assert stage in named
    assert set(named) <= {"seed", "protocol", stage}


def test_dvc_yaml_names_the_code_that_each_stage_imports() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert text == deps.render(text, ROOT), "`make deps` writes it"
    for stage in PIPELINE:
        named = [ROOT / dep for dep in PIPELINE[stage]["deps"] if dep.startswith("src/")]
        assert named == code.files_of(stage, SOURCE)


def test_code_that_a_stage_does_not_use_is_no_dependency_of_it() -> None:
    def named(stage: str, folder: str) -> set[str]:
        return {path.name for path in code.files_of(stage, SOURCE) if path.parent == SOURCE / folder}

    assert "figures.py" in named("report", "reporting")
    assert "figures.py" not in named("validate", "reporting")
    assert "validation.html.j2" in named("validate", "reporting/templates")
    pages = {"report.html.j2", "report.css", "section.html.j2", "document.html.j2"}
    assert pages == named("report", "reporting/templates")
    assert "open_clip_encoder.py" in named("encode_content", "encoders")
    assert not {name for name in named("encode_collaborative", "encoders") if name.startswith("open_clip")}


LOADERS = {
    node.name: (module, node)
    for module in FILES
    if below(module, ("mmesid.artifacts",))
    for node in tree_of(module).body
    if isinstance(node, ast.FunctionDef) and "load" in node.name
}


@functools.cache
def constants_of(module: str) -> dict[str, str]:
    """Texts that a module names once, at its top: `_FOLDER = "prepare"`."""
    return {
        target.id: str(node.value.value)
        for node in tree_of(module).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def stages_named(call: ast.Call, module: str) -> set[str]:
    """Stages among a call's arguments."""
    texts = {str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)}
    names = {argument.id for argument in call.args if isinstance(argument, ast.Name)}
    return (texts | {constants_of(module).get(name, "") for name in names}) & set(PIPELINE)


def stages_read_by(function: str) -> set[str]:
    """Folders that a load function of `artifacts` opens: the names it passes to `store.folder`."""
    module, loader = LOADERS[function]
    calls = [call for call in ast.walk(loader) if isinstance(call, ast.Call)]
    by_modality = any(isinstance(call.func, ast.Name) and call.func.id == "_encoder" for call in calls)
    both = {"encode_collaborative", "encode_content"} if by_modality else set()
    defaults = {str(default.value) for default in loader.args.defaults if isinstance(default, ast.Constant)}
    return both.union(defaults & set(PIPELINE), *(stages_named(call, module) for call in calls))


def is_stage(word: ast.keyword) -> bool:
    """Whether an argument says whose output is meant: `stage="finetune"`."""
    return word.arg == "stage" and isinstance(word.value, ast.Constant) and word.value.value in PIPELINE


def data_of(stage: str) -> set[str]:
    """Stages whose output a stage loads, by the load functions and folders that its code names."""
    modules = [module_name(path) for path in code.files_of(stage, SOURCE) if path.suffix == ".py"]
    found: set[str] = set()
    for module in modules:
        calls = [] if below(module, ("mmesid.artifacts",)) else list(ast.walk(tree_of(module)))
        for call in (node for node in calls if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in LOADERS:
                found |= stages_read_by(name)
            if name in LOADERS or name == "folder":
                found |= stages_named(call, module)
            found |= {str(word.value.value) for word in call.keywords if is_stage(word)}
    return found - {stage}


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if stage != "report"])
def test_data_dependencies_are_what_the_code_loads(stage: str) -> None:
    named = {dep.split("/")[2].partition(".")[0] for dep in PIPELINE[stage]["deps"] if dep.startswith("data/")}
    gate = {"validate"} if stage == "prepare" else set()  # waits for the gate without reading its result
    assert named == data_of(stage) | gate
