"""The documentation is true: links resolve, settings and their ranges and defaults are the code's, examples work."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shlex
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from factfade import config, errors, registry, sections, tables
from factfade.data.formats import Preset, ShortAnswer
from factfade.records import COMPLETIONS_KEY, EVIDENCE_KEY, FLUENCY_KEY, PROBES, Asked, Question
from factfade.tableschema import LAYOUTS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))])
FORMATS = tuple(kind for kind in registry.BUILTIN["format"] if kind not in PROBES)
PRESETS: tuple[Preset, ...] = ("default", "paper", "harness")


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(info string, content) of every code block."""
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1].strip(), match[2]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def tables_of(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """(heading above, rows of cells without the head) of every table."""
    heading, rows = "", []
    for line in [*prose(text).splitlines(), ""]:
        if line.startswith("#"):
            heading = line.lstrip("# ").strip()
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            yield heading, rows[2:]
            rows = []


# ---------------------------------------------------------------------------------------------------------------
# Links and paths


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, part = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            found.append(link)
        elif part:
            headings = re.findall(r"^#+ (.*)$", prose(target.read_text(encoding="utf-8")), re.MULTILINE)
            if part not in {anchor(heading) for heading in headings}:
                found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    assert broken(page) == []


def test_the_check_of_links_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One two\n\n[a](page.md#one-two) [b](none.md) [c](#three) [d](https://example.org) [e](../out)\n")
    assert broken(page) == ["none.md", "#three", "../out"]


def test_every_page_stands_in_the_list_of_pages() -> None:
    listed = re.findall(r"^\| \[([\w.-]+)\]\(\1\)", read("README.md"), re.MULTILINE)
    pages = sorted(page.name for page in DOCS.glob("*.md"))
    assert sorted([*listed, "README.md"]) == pages, "docs/README.md has one line for every page"
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


MACHINE = re.compile(r"(?<![\w.~/-])/(?:work|tmp|home|root|mnt|data)/|(?<![\w-])shared/(?:data|models)\b")


def test_no_path_of_a_machine_is_named() -> None:
    assert all(MACHINE.search(text) for text in ("in /work/shared", "(../shared/data/mmlu)", "/tmp/x"))
    assert not MACHINE.search("metrics/shared.py, data/mmlu, world/data")
    files = [ROOT / "README.md", *DOCS.rglob("*.md")]
    files += [f for f in (ROOT / "examples").rglob("*") if f.suffix in (".md", ".toml", ".py")]
    files += [f for f in (ROOT / "src").rglob("*") if f.suffix in (".py", ".toml", ".md", ".html", ".css", ".js")]
    found = [
        f"{file.relative_to(ROOT)}: {hit[0]}" for file in files for hit in MACHINE.finditer(file.read_text("utf-8"))
    ]
    assert found == []


# ---------------------------------------------------------------------------------------------------------------
# Settings


SECTIONS: dict[str, type[BaseModel]] = {
    "[experiment]": sections.About,
    "[model]": sections.ModelSection,
    "[synthesis]": sections.SynthesisSection,
    "decoding": sections.DecodingSection,
    "[training]": sections.TrainingSection,
    "[training.lora]": sections.LoraSection,
    "[evaluation]": sections.EvaluationSection,
    "[stages]": sections.StagesSection,
    "[contrast]": sections.ContrastSection,
    "[arms.NAME]": sections.Arm,
}
MAX_COUNT = 10**9  # "whole numbers go up to 1,000,000,000 where no other bound is named"


def bounds(schema: dict[str, Any]) -> str:
    """The range of a number in words."""

    def said(value: float) -> str:
        return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"

    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if high == MAX_COUNT:
        high = None
    if low is not None and high is not None:
        return f"{said(low)} to {said(high)}"
    parts = [("at least", low), ("above", above), ("at most", high), ("below", below)]
    return ", ".join(f"{word} {said(value)}" for word, value in parts if value is not None)


def described(schema: dict[str, Any]) -> str:
    """The type and range of a setting in words, out of its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(text for text in map(described, schema["anyOf"]) if text)
    if "enum" in schema or "const" in schema:
        return ", ".join(f'`"{value}"`' for value in schema.get("enum", [schema.get("const")]))
    kind = "object" if "$ref" in schema else schema["type"]
    if kind == "array":
        return f"list of {described(schema['items'])}"
    if kind in ("integer", "number"):
        name, between = {"integer": "whole number", "number": "number"}[kind], bounds(schema)
        return f"{name}{',' if between.count(' ') == 2 and 'least' in between else ''} {between}"
    return {"string": "text", "boolean": "true or false", "object": "table", "null": ""}[kind]


def value_of(cell: str) -> Any:
    """A default as it stands in a table: TOML in backticks, `unset`, `required`."""
    if cell in ("unset", "required"):
        return None
    return tomllib.loads(f"v = {cell.strip('`')}")["v"]


def settings_tables(depth: str) -> dict[str, list[list[str]]]:
    """Tables of concepts.md whose heading is a section ("[...]", "decoding") or a part ("corpus `text`")."""
    wanted = SECTIONS.keys() if depth == "sections" else {f"{g} `{k}`" for g, k in parts_with_settings()}
    return {heading: rows for heading, rows in tables_of(read("concepts.md")) if heading in wanted}


@pytest.mark.parametrize("heading", SECTIONS, ids=lambda heading: heading.strip("[]"))
def test_every_setting_of_a_section_is_described_as_it_is(heading: str) -> None:
    section = SECTIONS[heading]
    rows = settings_tables("sections")[heading]
    schema = section.model_json_schema()["properties"]
    required = {name for name, field in section.model_fields.items() if field.is_required()}
    assert [row[0].strip("`") for row in rows] == list(section.model_fields)
    given = {name: "one" if schema[name].get("type") == "string" else 0.5 for name in required}
    plain = section.model_validate(given)
    for name, kind, default, meaning in rows:
        name = name.strip("`")
        assert kind == described(schema[name]), name
        assert meaning, name
        assert (default == "required") == (name in required), name
        if name in required:
            continue
        assert (default == "unset") == (getattr(plain, name) is None), name
        assert section.model_validate({**given, name: value_of(default)}) == plain, name


def test_the_sections_described_are_those_that_there_are() -> None:
    headings = re.findall(r"^### (\[.*\])$", read("concepts.md"), re.MULTILINE)
    names = [heading.strip("[]").split(".")[0] for heading in headings]
    assert list(dict.fromkeys(names)) == list(config.Experiment.model_fields)
    assert set(headings) == {h for h in SECTIONS if h.startswith("[")} | {"[corpus]"}


def parts_with_settings() -> list[tuple[str, str]]:
    """Parts whose settings stand in a table of their own in the file."""
    groups = ("corpus", "questions", "format", "prompts", "pool", "objective", "after_training", "facts")
    return [(group, kind) for group in groups for kind in registry.BUILTIN[group]]


@pytest.mark.parametrize(("group", "kind"), parts_with_settings(), ids=lambda text: str(text))
def test_every_setting_of_a_part_is_described_as_it_is(group: str, kind: str) -> None:
    heading = f"{group} `{kind}`"
    assert re.search(rf"^#### {re.escape(heading)}$", read("concepts.md"), re.MULTILINE)
    rows = {row[0].strip("`"): row[1] for row in settings_tables("parts").get(heading, [])}
    fields = {f.name: f for f in dataclasses.fields(registry.find(group, kind)) if f.init and f.name != "kind"}
    assert set(rows) == set(fields)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING:
            assert rows[name] == "required", name
            continue
        assert (rows[name] == "unset") == (field.default is None), name
        assert rows[name] != "required", name
        value = value_of(rows[name])
        assert (tuple(value) if isinstance(value, list) else value) == field.default, name


def test_every_kind_of_part_is_named() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert [kind for kinds in registry.BUILTIN.values() for kind in kinds if f"`{kind}`" not in text] == []
    rows = next(rows for heading, rows in tables_of(read("adding-a-part.md")) if heading == "The groups")
    assert [row[0] for row in rows] == list(registry.BUILTIN)
    assert [row[2] for row in rows] == [f"`factfade.{group}`" for group in registry.BUILTIN]


def toml_blocks() -> list[tuple[str, str, str]]:
    found = [(page.name, info, text) for page in PAGES for info, text in blocks(page.read_text(encoding="utf-8"))]
    return [block for block in found if block[1].split(" ")[0] == "toml"]


@pytest.mark.parametrize(("page", "info", "text"), toml_blocks(), ids=lambda text: text.split("\n")[0][:30])
def test_a_toml_block_is_an_experiment_or_says_what_it_is(
    page: str, info: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tomllib.loads(text)
    if info in ("toml fragment", "toml pyproject.toml"):
        return
    monkeypatch.chdir(tmp_path)
    if info == "toml experiment":  # with the part that its page adds
        _install(tmp_path, monkeypatch)
    assert config.parse(data, where=page).arms


# ---------------------------------------------------------------------------------------------------------------
# Formats


def documented_question(tmp_path: Path) -> tuple[Question, tuple[Question, ...]]:
    files = {info: text for info, text in blocks(read("formats.md")) if info.startswith("jsonl")}
    (tmp_path / "q.jsonl").write_text(files["jsonl question"], encoding="utf-8")
    (tmp_path / "d.jsonl").write_text(files["jsonl dev"], encoding="utf-8")
    questions = registry.build(
        "questions", {"kind": "jsonl", "path": str(tmp_path / "q.jsonl"), "dev_path": str(tmp_path / "d.jsonl")}
    )
    (question,) = questions.items()
    assert len(questions.dev()) == 3
    return question, questions.dev()


def rendered(question: Question, dev: tuple[Question, ...]) -> dict[str, Asked]:
    found: dict[str, Asked] = {}
    for preset in PRESETS:
        for kind in FORMATS:
            for asked in registry.build("format", kind, preset=preset).ask(question, dev=dev, seed=0):
                found[" ".join(filter(None, ("text", kind, preset, asked.wording)))] = asked
    with_instruction = registry.build("format", {"kind": "open_ended", "instruction": True})
    statement, asked = with_instruction.ask(question, dev=dev, seed=0)
    assert statement.wording == "statement"
    return {**found, "text open_ended default question instruction": asked}


def test_the_prompts_of_the_formats_page_are_those_that_are_put(tmp_path: Path) -> None:
    shown = {info: text.removesuffix("\n") for info, text in blocks(read("formats.md")) if info.startswith("text ")}
    put = rendered(*documented_question(tmp_path))
    assert shown.keys() == put.keys()
    for info, text in shown.items():
        assert text == put[info].prompt, info


def test_the_prompts_of_the_probes_are_those_that_are_put(tmp_path: Path) -> None:
    shown = {info: text.removesuffix("\n") for info, text in blocks(read("formats.md")) if info.startswith("probe ")}
    question, dev = documented_question(tmp_path)
    put = {
        " ".join(filter(None, ("probe", kind, asked.wording))): asked.prompt
        for kind in sorted(PROBES)
        for asked in registry.build("format", kind).ask(question, dev=dev, seed=0)
    }
    assert shown == put


def test_the_scored_continuations_are_as_described(tmp_path: Path) -> None:
    for info, asked in rendered(*documented_question(tmp_path)).items():
        _, kind, preset, *_ = info.split()
        blank = "" if preset == "paper" and kind != "open_ended" else " "
        lettered = kind in FORMATS[:3]
        assert asked.targets == tuple(f"{blank}{t}" for t in (tuple("ABCD") if lettered else asked.options)), info
        summed = lettered or (kind, preset) == ("open_ended", "harness")
        assert asked.rule == ("sum" if summed else "mean"), info
        in_file_order = asked.permutation == (0, 1, 2, 3)
        assert in_file_order or preset == "default", info
    assert ShortAnswer(rule="sum").rule == "sum"


def test_the_answers_of_the_formats_page_are_read_so(tmp_path: Path) -> None:
    question, dev = documented_question(tmp_path)
    rows = [row for _, rows in tables_of(read("formats.md")) for row in rows if len(row) == 4]
    rows = [[cell.strip("`") for cell in row] for row in rows if row[1].startswith("`")]
    assert len(rows) > 12
    assert {row[0] for row in rows} == {"multiple_choice", "short_answer", "open_ended"}
    for kind, answer, outcome, reason in rows:
        form = registry.build("format", kind)
        parsed = form.parse(answer, form.ask(question, dev=dev, seed=0)[0], ended=True)
        assert (parsed.outcome, parsed.reason) == (outcome, reason), answer


def test_every_outcome_and_every_reason_for_not_asking_stands_on_the_page() -> None:
    from factfade.records import OUTCOMES

    page = dict(tables_of(read("formats.md")))
    first = next(rows for heading, rows in tables_of(read("formats.md")) if heading == "Reading a free answer")
    assert [row[0].strip("`") for row in first] == list(OUTCOMES)
    documented = {row[0].strip("`") for row in page["Not asked"]}
    files = ("data/formats.py", "data/probes.py", "material.py")
    source = "".join((ROOT / "src" / "factfade" / f).read_text("utf-8") for f in files)
    said = set(re.findall(r'not_asked\(question, self\.name, "\w*", f?"([^"]+)"\)', source))
    said |= set(re.findall(r"^        return \"(.+)\"$", source, re.MULTILINE))
    said |= set(re.findall(r'reason = f"([^"]+)"|', source)) | set(re.findall(r', reason="([^"]+)"\)', source))
    said = {text.replace("{self.wanted}", "N").replace("{model.context}", "N") for text in said}
    assert said - {"", "another answer"} == documented


# ---------------------------------------------------------------------------------------------------------------
# Tables, files, codes, the world


@pytest.mark.parametrize("table", LAYOUTS)
def test_the_columns_of_a_table_are_described_as_they_are(table: str) -> None:
    rows = dict(tables_of(read("evidence.md")))[table]
    assert [(row[0].strip("`"), row[1].replace("&lt;", "<").replace("&gt;", ">")) for row in rows] == list(
        LAYOUTS[table].columns.items()
    )
    assert {row[0].strip("`") for row in rows if row[2] == "yes"} == set(LAYOUTS[table].required)
    key = {"evidence": EVIDENCE_KEY, "fluency": FLUENCY_KEY, "completions": COMPLETIONS_KEY}[table]
    assert f"Key: {', '.join(key)}." in read("evidence.md")


def test_the_smallest_evidence_is_judged_as_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = dict(blocks(read("evidence.md")))
    (tmp_path / "evidence.jsonl").write_text(found["jsonl evidence"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(found["python evidence"], "docs/evidence.md", "exec"), {})
    said = capsys.readouterr().out
    assert all(word in said for word in ("mine", "undetermined", "fluency"))
    assert len(tables.read(tmp_path / "evidence.jsonl", "evidence")) == 2


def test_the_quickstart_is_valid(tmp_path: Path) -> None:
    text = read("quickstart.md")
    (tmp_path / "q.jsonl").write_text(dict(blocks(text))["jsonl questions"], encoding="utf-8")
    questions = registry.build("questions", {"kind": "jsonl", "path": str(tmp_path / "q.jsonl")})
    assert questions.check()["items"] == 2
    commands = "".join(content for info, content in blocks(text) if not info).replace("\\\n", "")
    runs = [shlex.split(line)[2:] for line in commands.splitlines() if line.startswith("factfade run ")]
    assert len(runs) == 3
    for file, *options in runs:
        assert options[::2] == ["-o"] * (len(options) // 2)
        assert config.load(ROOT / file, options[1::2]).arms
    codes = dict(tables_of(text))["Exit codes"]
    documented = {int(code) for row in codes for code in row[0].split(",")}
    assert documented == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_the_commands_that_pages_name_are_there() -> None:
    from factfade.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups if group.name}
    text = "".join(page.read_text(encoding="utf-8") for page in [*DOCS.glob("*.md"), ROOT / "README.md"])
    named = set(re.findall(r"(?:^|`)factfade ([a-z]+)", text, re.MULTILINE))
    assert {"demo", "run", "report", "stages", "doctor", "parts"} <= named <= known


def test_the_facts_of_the_world_are_counted_right() -> None:
    from factfade.world.facts import load_facts

    rows = next(rows for heading, rows in tables_of(read("world.md")) if heading == "Facts")
    counted = Counter((fact.relation, fact.domain, fact.split) for fact in load_facts())
    documented = {
        (row[0].strip("`"), row[1], split): int(row[at]) for row in rows for at, split in ((2, "asked"), (3, "dev"))
    }
    assert documented == counted
    sources = json.loads((ROOT / "src" / "factfade" / "world" / "facts.json").read_text(encoding="utf-8"))["sources"]
    assert all(source["licence"] in read("world.md") for source in sources)


# ---------------------------------------------------------------------------------------------------------------
# The part of a third party


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `pip install` of the documented package leaves: its module, and metadata with its entry point."""
    files = {info.split(" ", 1)[1]: text for info, text in blocks(read("adding-a-part.md")) if " " in info}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    for name in ("factfade_distinct.py", "test_factfade_distinct.py"):
        (folder / name).write_text(files[name], encoding="utf-8")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in own.items())
        for group, own in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("factfade_distinct", "test_factfade_distinct"):
        monkeypatch.delitem(sys.modules, module, raising=False)


def test_the_documented_part_is_found_checked_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "distinct_words" not in registry.kinds("pool")
    _install(tmp_path, monkeypatch)
    assert registry.kinds("pool")["distinct_words"].summary == "from the package factfade-distinct"
    found = dict(blocks(read("adding-a-part.md")))
    experiment = config.parse(tomllib.loads(found["toml experiment"]))
    assert experiment.arm("distinct").pool == ({"kind": "replace"}, {"kind": "distinct_words", "share": 0.6})
    assert experiment.control_of("distinct") == "human_only"
    with pytest.raises(errors.ConfigError, match="share"):
        registry.build("pool", {"kind": "distinct_words", "share": 2.0})
    with pytest.raises(errors.ConfigError) as wrong:
        registry.build("pool", {"kind": "distinct_words", "shares": 0.5})
    assert "'share'" in wrong.value.hint
    own_tests = importlib.import_module("test_factfade_distinct")
    ran = [getattr(own_tests, name)() for name in dir(own_tests) if name.startswith("test_")]
    assert ran == [None]


def test_the_documented_part_trains_a_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factfade import loop, store
    from factfade.progress import Silent
    from factfade.sweep import to_toml
    from tests import small

    (tmp_path / "site").mkdir()
    _install(tmp_path / "site", monkeypatch)
    arms = {"distinct": {"synthetic_fraction": 0.5, "pool": [{"kind": "distinct_words", "share": 1.0}]}}
    experiment = small.experiment(
        small.materials(tmp_path),
        experiment={"generations": 1},
        synthesis={"new_tokens": 64},
        arms=arms,
        evaluation={"texts": 0, "prompts": 0},
    )
    root = tmp_path / "runs"
    store.create_experiment(root, toml=to_toml(experiment))
    loop.run_arm(experiment, "distinct", 0, root, progress=Silent())
    train = json.loads((root / "distinct" / "seed-0" / "generation-001" / "train.json").read_text(encoding="utf-8"))
    mixes = train["record"]["pool"]
    assert [mix["part"]["kind"] for mix in mixes] == ["replace", "distinct_words"]
    assert mixes[1]["requested"] == {"documents": 24, "share": 1}
    table = tables.read(root / "distinct" / "seed-0" / "generation-001" / "completions.parquet", "completions")
    repeating = sum(len(set(text.split())) < len(text.split()) for text in table["completion"])
    assert 24 - mixes[1]["achieved"]["documents"] == repeating > 0
    assert train["record"]["training"]["documents"]["dropped_documents"] == repeating


# The pages of the mitigations

MITIGATIONS = sorted((DOCS / "mitigations").glob("*.md"))


@pytest.mark.parametrize("page", MITIGATIONS, ids=lambda page: page.stem)
def test_a_mitigations_page_says_what_it_costs_when_it_fails_and_how_to_write_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.splitlines()[0] == f"# {page.stem}"
    for wanted in ("Cost", "When it fails", "ource"):
        assert wanted in text
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        data = tomllib.loads(block)
        data.setdefault("experiment", {"name": "page"})
        data.setdefault("arms", {}).setdefault("human_only", {"synthetic_fraction": 0.0})
        config.parse(data)


def test_every_mitigation_has_a_page_and_the_overview_links_it() -> None:
    kinds = {kind for group in ("pool", "objective", "after_training") for kind in registry.BUILTIN[group]}
    plain = {"replace", "accumulate", "accumulate_subsample", "cross_entropy"}
    pages = {page.stem for page in MITIGATIONS}
    assert (kinds - plain) | {"fact_anchored", "recursive_stability"} == pages
    overview = read("mitigations.md")
    assert [name for name in sorted(pages) if f"(mitigations/{name}.md)" not in overview] == []
