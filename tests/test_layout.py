"""The layers of `utils`: who may import whom."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from utils.paths import ROOT

LAYERS = [{""}, {"images", "metrics"}, {"forms", "data", "patching", "pages"}, {"training"}, {"tasks"}]  # then the rest
TREE = ("__init__", "errors", "files", "paths", "runtime", "samples", "storage")  # at the root of `utils`
REGISTRY, START = "utils.tasks.registry", "utils.fine_tuning.start"


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of each module below root/utils."""
    files = (path.relative_to(root) for path in sorted((root / "utils").rglob("*.py")))
    return {".".join(path.with_suffix("").parts): root / path for path in files}


def imports(path: Path, known: set[str], types: bool = True) -> set[str]:
    """Modules of `utils` that a file imports, inside functions too; `types`: also what only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if types or not isinstance(node, ast.If)]
    nodes = list(ast.walk(tree))
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
        return module in (REGISTRY, START)
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
        body = ast.parse(path.read_text(encoding="utf-8")).body
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
