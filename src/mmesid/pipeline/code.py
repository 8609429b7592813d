"""The code behind a stage, read from its imports: the files that can change its result, and their digest."""

import ast
import functools
import hashlib
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# A log line, a new key or a clearer message must not retrain a model, so what says them does not count.
UNCOUNTED = (
    "mmesid.config",
    "mmesid.errors",
    "mmesid.host",
    "mmesid.pipeline",
    "mmesid.stages.entry",
    "mmesid.tracking",
)
COUNTED = ("mmesid.config.sizes",)  # all the same: its rules decide how large a step is
INCLUDED = re.compile(r'{%-? *(?:include|extends|import|from) *"([^"]+)"')  # a template in a template


def files_of(stage: str, package: Path = PACKAGE) -> list[Path]:
    """The files whose change may change the stage's result: what its entry imports, directly or not, and templates.

    Args:
        stage: name of a module of `mmesid.stages`.
        package: the folder of `mmesid`.
    """
    uncounted = {name for name in UNCOUNTED if stage != "configure" or name != "mmesid.config"}  # its only subject
    found: set[Path] = set()
    waiting = [f"mmesid.stages.{stage}"]
    while waiting:
        module = waiting.pop()
        path = _path(module, package)
        if module not in COUNTED and any(_below(module, name) for name in uncounted):
            continue
        if path in found or _is_empty(path):
            continue
        found |= {path, *_templates(path)}
        waiting += imports(path, package)
    return sorted(found)


def digest(stage: str, package: Path = PACKAGE) -> str:
    """Of all that the stage's code does: comments, docstrings and layout do not count."""
    hashed = hashlib.sha256()
    for path in files_of(stage, package):
        content = _dumped(path.read_text(encoding="utf-8")) if path.suffix == ".py" else path.read_bytes()
        hashed.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    return hashed.hexdigest()


def imports(path: Path, package: Path = PACKAGE) -> list[str]:
    """Modules of `mmesid` that a file imports, inside functions too; `from mmesid.data import sample` is the module."""
    found = set()
    for node in _nodes(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if _exists(name, package) else str(node.module) for name in names}
    return sorted(name for name in found if _below(name, "mmesid") and name != "mmesid")


@functools.cache  # by text: most files are part of most stages
def _nodes(text: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(text)))


def _path(module: str, package: Path) -> Path:
    path = package.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str, package: Path) -> bool:
    return _below(module, "mmesid") and _path(module, package).is_file()


def _below(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def _is_empty(path: Path) -> bool:
    """An `__init__` that holds a docstring only."""
    return path.name == "__init__.py" and not ast.parse(path.read_text(encoding="utf-8")).body[1:]


def _templates(path: Path) -> set[Path]:
    """Files of the folder `templates` beside a module that its text names, and those that they include."""
    folder = path.parent / "templates"
    texts = {node.value for node in _nodes(path.read_text(encoding="utf-8")) if isinstance(node, ast.Constant)}
    waiting = [file for file in folder.glob("*") if file.name in texts]
    found: set[Path] = set()
    while waiting:
        template = waiting.pop()
        found.add(template)
        named = {folder / name for name in INCLUDED.findall(template.read_text(encoding="utf-8"))}
        waiting += named - found
    return found


def _dump(node: object) -> str:
    """A syntax tree as text, the same by every version of Python: fields that are empty do not count."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value is not None and value != [])
    return f"{type(node).__name__}({', '.join(fields)})"


@functools.cache
def _dumped(text: str) -> bytes:
    """A module's syntax tree without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
    return _dump(tree).encode()
