"""The layers of `utils`: who may import whom."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from utils.paths import ROOT

LAYERS = [{""}, {"images", "metrics"}, {"forms", "data", "patching", "pages"}, {"training"}, {"tasks"}]  # then the rest
TREE = (
    "__init__",
    "errors",
    "files",
    "groups",
    "locks",
    "names",
    "paths",
    "runtime",
    "samples",
    "storage",
)  # at the root of `utils`
REGISTRY, START = "utils.tasks.registry", "utils.fine_tuning.start"
TAKES = {"slides": "pixels"}  # the network of slides is that of pixels


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of each module below root/utils."""
    files = (path.relative_to(root) for path in sorted((root / "utils").rglob("*.py")))
    return {".".join(path.with_suffix("").parts): root / path for path in files}


@cache
def parsed(source: str) -> list[ast.stmt]:
    """Statements of a file."""
    return ast.parse(source).body


def imports(path: Path, known: set[str], types: bool = True) -> set[str]:
    """Modules of `utils` that a file imports, inside functions too; `types`: also what only type checkers read."""
    body = [node for node in parsed(path.read_text(encoding="utf-8")) if types or not isinstance(node, ast.If)]
    nodes = [node for statement in body for node in ast.walk(statement)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in (node for node in nodes if isinstance(node, ast.ImportFrom)):
        inner = {f"{node.module}.{alias.name}" for alias in node.names}
        names |= inner & known or {node.module}
    return {name if name in known else f"{name}.__init__" for name in names} & known


def folder(module: str) -> tuple[str, str]:
    """Folder of a module within `utils`, and its folder within that, each "" where there is none."""
    parts = module.split(".")[1:-1]
    return (*parts, "", "")[:2]


def layer(module: str) -> int:
    """Number of the module's layer, from 0."""
    return next((i for i, names in enumerate(LAYERS) if folder(module)[0] in names), len(LAYERS))


def may_import(module: str, other: str) -> bool:
    """Whether the rules of the layers allow `module` to import `other`."""
    (room, task), (other_room, other_task) = folder(module), folder(other)
    if other_task and task != other_task:  # into the folder of a task
        return module in (REGISTRY, START) or TAKES.get(task) == other_task
    if room == other_room:
        return other != REGISTRY or module == REGISTRY
    return layer(other) < (1 if room == "forms" else layer(module))


def faults(root: Path) -> list[str]:
    """Each breach of the rules below root/utils in a sentence."""
    files = modules(root)
    graph = {module: imports(path, set(files)) for module, path in files.items()}
    found = [f"{a} imports {b}" for a, others in graph.items() for b in sorted(others) if not may_import(a, b)]
    for module, path in files.items():
        room = folder(module)[0]
        body = parsed(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py" and len(body) > 1 and room != "forms":
            found.append(f"{module} does more than say what it is")
        if not room and module.split(".")[1] not in TREE:
            found.append(f"{module} lies at the root of utils")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"circle: {' -> '.join(error.args[1])}")
    return found


def longest_chain(root: Path) -> list[str]:
    """Longest chain of imports that Python goes through; those of types alone are not made."""
    files = modules(root)
    graph = {module: imports(path, set(files), types=False) for module, path in files.items()}
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(graph).static_order():
        chains[module] = [module, *max((chains[other] for other in graph[module]), key=len, default=[])]
    return max(chains.values(), key=len)


def test_layers_are_kept():
    assert faults(ROOT) == []


def test_chains_of_imports_are_short():
    chain = longest_chain(ROOT)
    assert len(chain) <= 12, chain


GOOD = {
    "utils/errors.py": "",
    "utils/images/image.py": "from utils.errors import DataError",
    "utils/data/project.py": "def f():\n    from utils.images import image",
    "utils/tasks/task.py": "from utils.data import project",
    "utils/tasks/pixels/task.py": "from utils.tasks import task\nfrom utils.images.image import read",
    "utils/tasks/registry.py": "from utils.tasks.pixels.task import UNet",
    "utils/forms/__init__.py": "from utils.forms.fields import Sizes",
    "utils/forms/fields.py": "import utils.errors",
    "utils/microscope/run.py": "from utils.tasks import registry",
}
BAD = {
    "upwards": {"utils/images/masks.py": "from utils.data.project import Project"},
    "upwards, inside a function": {"utils/paths.py": "def f():\n    import utils.images.image"},
    "upwards, for types": {"utils/paths.py": "if TYPE_CHECKING:\n    from utils.images import image"},
    "sideways": {"utils/forms/fields.py": "from utils.data import project"},
    "forms ask layer 1 only": {"utils/forms/fields.py": "from utils.images import image"},
    "between tasks": {"utils/tasks/objects/task.py": "from utils.tasks.pixels import task"},
    "into a task": {"utils/tasks/results.py": "from utils.tasks.pixels.task import UNet"},
    "past the registry": {"utils/microscope/run.py": "from utils.tasks.pixels.task import UNet"},
    "to the registry": {"utils/tasks/results.py": "from utils.tasks import registry"},
    "circle": {
        "utils/forms/fields.py": "import utils.forms.state",
        "utils/forms/state.py": "import utils.forms.fields",
    },
    "package": {"utils/tasks/__init__.py": '"""Tasks."""\nfrom utils.tasks import task'},
    "at the root": {"utils/more.py": ""},
}


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("kind", BAD)
def test_a_breach_is_found(kind, tmp_path):
    assert faults(written(tmp_path, GOOD)) == []
    assert len(faults(written(tmp_path, BAD[kind]))) == 1


def test_the_longest_chain_is_found(tmp_path):
    chain = longest_chain(written(tmp_path, GOOD))
    assert [name.split(".")[-1] for name in chain] == ["run", "registry", "task", "task", "project", "image", "errors"]
