"""The rooms of the package: which file may import which. Each check is also shown a planted violation.

Imports are read from the source (`ast`), wherever they stand: at the top, in a function, under TYPE_CHECKING.
Modules are named without the leading `factfade.`; the package itself is `__init__`.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import factfade

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "factfade"

FLOORS = {
    "errors": 1,
    "places": 1,
    "records": 1,
    "stats": 1,
    "text": 1,
    "verdicts": 1,
    "protocols": 2,
    "registry": 2,
    "store": 2,
    "durable": 2,
    "identity": 2,
    "auditfolder": 2,
    "keys": 2,
    "manifest": 2,
    "paths": 2,
    "reading": 2,
    "progress": 2,
    "session": 2,
    "steps": 2,
    "tablerows": 2,
    "versions": 2,
    "tables": 2,
    "tableschema": 2,
    "upkeep": 2,
    "analysis": 3,
    "arena": 3,
    "assembly": 3,
    "audit_settings": 3,
    "checkpoints": 3,
    "classifiers": 3,
    "config": 3,
    "sections": 3,
    "settings_file": 3,
    "evidence_cache": 3,
    "history": 3,
    "junk": 3,
    "synthesize": 3,
    "evaluate": 3,
    "material": 3,
    "foreign": 3,
    "importers": 3,
    "stage_panel": 3,
    "stages": 3,
    "columns": 3,
    "domain": 3,
    "stage_conditions": 3,
    "stage_guards": 3,
    "stage_words": 3,
    "stage_bootstrap": 3,
    "stage_calls": 3,
    "stage_chance": 3,
    "stage_family": 3,
    "stage_json": 3,
    "stage_notes": 3,
    "stage_rule": 3,
    "stage_sensitivity": 3,
    "stage_text": 3,
    "judging": 3,
    "live": 3,
    "live_state": 3,
    "budget": 3,
    "world": 3,
    "data": 3,
    "models": 3,
    "training": 3,
    "mitigations": 3,
    "metrics": 3,
    "report": 3,
    "mixing": 3,
    "sharing": 3,
    "loop": 4,
    "audit": 4,
    "audit_answer": 4,
    "audit_bench": 4,
    "audit_plan": 4,
    "compare": 4,
    "compare_contrasts": 4,
    "compare_looks": 4,
    "compare_prints": 4,
    "compare_sides": 4,
    "compare_text": 4,
    "export": 4,
    "gate": 4,
    "gate_files": 4,
    "gate_init": 4,
    "gate_measures": 4,
    "policy": 4,
    "callback": 4,
    "callback_log": 4,
    "watch": 4,
    "watch_folder": 4,
    "theory": 4,
    "demo": 5,
    "doctor": 5,
    "status": 4,
    "status_look": 4,
    "status_text": 4,
    "sweep": 5,
    "verify": 5,
    "verify_audit": 5,
    "verify_files": 5,
    "verify_tables": 5,
    "launchers": 5,
    "world.pretrain": 5,
    "cli": 6,
    "cli_run": 6,
    "cli_domain": 6,
    "cli_arena": 6,
    "cli_checkpoints": 6,
    "cli_common": 6,
    "__init__": 7,
    "__main__": 7,
}

# A part is found by the registry and knows the seams and the records, never another part.
PART_ROOMS = ("training.objectives", "mitigations", "metrics", "data.formats", "data.corpora", "models")
# What the loop reaches through the registry alone.
CONCRETE = (*PART_ROOMS, "training", "world", "launchers", "report")
LOOP_LINES = 200


def read_modules(package: Path) -> dict[str, Path]:
    """Every module of the package by its name."""
    found: dict[str, Path] = {}
    for path in sorted(package.rglob("*.py")):
        names = path.relative_to(package).with_suffix("").parts
        if names[-1] == "__init__" and len(names) > 1:
            names = names[:-1]
        found[".".join(names)] = path
    return found


def read_imports(package: Path) -> dict[str, set[str]]:
    """For every module, the modules of the package that it imports."""
    modules = read_modules(package)
    return {name: set(_imported(name, path, modules)) - {name} for name, path in modules.items()}


def _imported(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    own = ["factfade"] if name == "__init__" else ["factfade", *name.split(".")]
    folder = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            # The version is data of the package, not one of its public names.
            if target.split(".")[0] == "factfade" and target != "factfade.__version__":
                yield _nearest_module(target, modules)


def _nearest_module(target: str, modules: Mapping[str, Path]) -> str:
    """The module that a dotted target is or lies in: `factfade.store.commit` lies in `store`.

    A public name lies in `__init__`. A module that is not there is named as it is asked for.
    """
    names = target.split(".")[1:]
    if not names or names[0] in factfade.__all__:
        return "__init__"
    longest = [names[:length] for length in range(len(names), 0, -1) if ".".join(names[:length]) in modules]
    return ".".join(longest[0] if longest else names[:1])


def within(module: str, rooms: tuple[str, ...]) -> str | None:
    """The longest of the rooms that the module is or lies in."""
    fits = [room for room in rooms if module == room or module.startswith(room + ".")]
    return max(fits, key=len, default=None)


def floor(module: str) -> int | None:
    room = within(module, tuple(FLOORS))
    return None if room is None else FLOORS[room]


def floor_violations(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules without a floor, and imports from a higher floor."""
    found = [f"{name} stands on no floor: add it to FLOORS" for name in imports if floor(name) is None]
    for name, targets in imports.items():
        for target in sorted(targets):
            here, there = floor(name), floor(target)
            if here is not None and there is not None and there > here:
                found.append(f"{name} (floor {here}) imports {target} (floor {there})")
    return found


def cycles(imports: Mapping[str, set[str]]) -> list[str]:
    """One line for each import that closes a cycle."""
    found: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(imports.get(name, ())):
                visit(target, [*path, name])
            done.add(name)

    for name in sorted(imports):
        visit(name, [])
    return found


def registered() -> dict[str, set[str]]:
    """The modules that the registry's table names, each with the classes it names there."""
    table = importlib.import_module("factfade.registry").BUILTIN
    found: dict[str, set[str]] = {}
    for kinds in table.values():
        for part in kinds.values():
            module, _, name = part.target.removeprefix("factfade.").partition(":")
            found.setdefault(module, set()).add(name)
    return found


def part_violations(imports: Mapping[str, set[str]], parts: set[str]) -> list[str]:
    """Parts that import parts: a module of another part room, or any module that the registry names."""
    found: list[str] = []
    for name, targets in imports.items():
        room = within(name, PART_ROOMS)
        if room is None:
            continue
        for target in sorted(targets):
            other = within(target, PART_ROOMS)
            if (other is not None and other != room) or (name in parts and target in parts):
                found.append(f"the part {name} imports the part {target}")
    return found


def loop_violations(path: Path, imports: set[str], parts: Mapping[str, set[str]], kinds: set[str]) -> list[str]:
    """What makes the loop hard to read or ties it to one part: length, imports, names, kinds as strings."""
    classes = set[str]().union(*parts.values())
    text = path.read_text(encoding="utf-8")
    found: list[str] = []
    lines = len(text.splitlines())
    if lines >= LOOP_LINES:
        found.append(f"{lines} lines, the limit is {LOOP_LINES}")
    found += [f"imports {target}" for target in sorted(imports) if within(target, CONCRETE) or target in parts]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in kinds:
            found.append(f"line {node.lineno}: the kind {node.value!r}")
        if isinstance(node, ast.Name) and node.id in classes:
            found.append(f"line {node.lineno}: the class {node.id}")
        if isinstance(node, ast.Attribute) and node.attr in classes:
            found.append(f"line {node.lineno}: the class {node.attr}")
    return found


def part_kinds() -> set[str]:
    """Kinds of the registry, less the words that are also columns of a stored table (`text`, `domain`)."""
    table = importlib.import_module("factfade.registry").BUILTIN
    records = importlib.import_module("factfade.records")
    columns = {column for name in vars(records) if name.endswith("_COLUMNS") for column in getattr(records, name)}
    return {kind for kinds in table.values() for kind in kinds} - columns


# The package itself.


def test_no_module_imports_from_a_higher_floor() -> None:
    assert floor_violations(read_imports(PACKAGE)) == []


def test_imports_have_no_cycle() -> None:
    assert cycles(read_imports(PACKAGE)) == []


def test_parts_never_import_parts() -> None:
    assert part_violations(read_imports(PACKAGE), set(registered())) == []


def test_the_loop_is_short_and_names_no_concrete_part() -> None:
    imports = read_imports(PACKAGE)["loop"]
    assert loop_violations(PACKAGE / "loop.py", imports, registered(), part_kinds()) == []


def test_every_registered_module_is_there_and_defines_its_class() -> None:
    modules = read_modules(PACKAGE)
    missing: list[str] = []
    for module, classes in registered().items():
        if module not in modules:
            missing.append(module)
            continue
        tree = ast.parse(modules[module].read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
        missing += [f"{module}:{name}" for name in sorted(classes - defined)]
    assert missing == []


# Planted violations: each check can fail.

PLANTED_PARTS = {"metrics.one": {"One"}, "metrics.two": {"Two"}, "models.hf": {"HfModel"}, "data.questions": {"Mmlu"}}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A package that keeps every rule."""
    files = {
        "__init__.py": "",
        "errors.py": "",
        "records.py": "from factfade import errors\n",
        "store.py": "from factfade.records import Row\nfrom . import errors\n",
        "metrics/__init__.py": "",
        "metrics/one.py": "from factfade.metrics.shares import share\n",
        "metrics/shares.py": "from ..records import Row\n",
        "metrics/two.py": "import factfade.records\n",
        "models/hf.py": "",
        "data/blocks.py": "",
        "data/questions.py": "",
        "world/__init__.py": "",
        "world/pretrain.py": "from factfade.sweep import run\n",
        "loop.py": "'''Reads a domain.'''\nfrom factfade.store import Store\nfrom factfade.data import blocks\n",
        "sweep.py": "def run():\n    from factfade import loop\n",
    }
    package = tmp_path / "factfade"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_a_package_that_keeps_the_rules_passes(planted: Path) -> None:
    imports = read_imports(planted)
    assert imports["store"] == {"records", "errors"}
    assert imports["metrics.shares"] == {"records"}
    assert imports["world.pretrain"] == {"sweep"}
    assert floor_violations(imports) == []
    assert cycles(imports) == []
    assert part_violations(imports, set(PLANTED_PARTS)) == []
    assert loop_violations(planted / "loop.py", imports["loop"], PLANTED_PARTS, {"chained"}) == []


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("records.py", "import factfade.store", "records (floor 1) imports store (floor 2)"),
        ("store.py", "def f():\n    from .loop import x", "store (floor 2) imports loop (floor 4)"),
        ("world/documents.py", "from factfade.world import pretrain", "imports world.pretrain (floor 5)"),
        ("metrics/one.py", "from factfade import run", "metrics.one (floor 3) imports __init__ (floor 7)"),
        ("utils.py", "", "utils stands on no floor"),
    ],
)
def test_a_planted_import_from_above_is_found(planted: Path, file: str, text: str, says: str) -> None:
    (planted / file).write_text(text, encoding="utf-8")
    found = floor_violations(read_imports(planted))
    assert len(found) == 1
    assert says in found[0]


def test_a_planted_cycle_is_found(planted: Path) -> None:
    (planted / "errors.py").write_text("def f():\n    import factfade.records", encoding="utf-8")
    assert cycles(read_imports(planted)) == ["errors -> records -> errors"]


@pytest.mark.parametrize(
    ("text", "target"),
    [("from factfade.models.hf import HfModel", "models.hf"), ("from .two import Two", "metrics.two")],
)
def test_a_planted_import_between_parts_is_found(planted: Path, text: str, target: str) -> None:
    (planted / "metrics" / "one.py").write_text(text, encoding="utf-8")
    found = part_violations(read_imports(planted), set(PLANTED_PARTS))
    assert found == [f"the part metrics.one imports the part {target}"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from factfade.models.hf import Other", "imports models.hf"),
        ("from factfade import world", "imports world"),
        ("from factfade.data.questions import Other", "imports data.questions"),
        ("x = build('prompts', 'chained')", "line 1: the kind 'chained'"),
        ("x = registry.HfModel()", "line 1: the class HfModel"),
        ("\n" * LOOP_LINES, f"{LOOP_LINES} lines, the limit is {LOOP_LINES}"),
    ],
)
def test_a_planted_flaw_of_the_loop_is_found(planted: Path, text: str, says: str) -> None:
    (planted / "loop.py").write_text(text, encoding="utf-8")
    imports = read_imports(planted)["loop"]
    assert loop_violations(planted / "loop.py", imports, PLANTED_PARTS, {"chained"}) == [says]
