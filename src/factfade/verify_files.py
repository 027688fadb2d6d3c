"""What the files of a run folder say of each other: manifests, hashes, weights, settings, the rule.

Nothing is loaded and no model is touched. Each function yields checks; none of them stops at the first damage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from factfade import config, durable, keys, stages, upkeep, versions, world
from factfade.auditfolder import AuditFolder
from factfade.config import Experiment
from factfade.errors import FactfadeError, IntegrityError, NotFound
from factfade.identity import checkpoint_identity
from factfade.manifest import Manifest, read_manifest
from factfade.paths import inside, is_name
from factfade.records import canonical_json, sha256_text
from factfade.store import ENVIRONMENT, EXPERIMENT, ExperimentFolder
from factfade.text import safe_text

State = Literal["verified", "damaged", "unchecked"]
CHECKPOINT = "checkpoint"
WEIGHTS = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at: what it is, how it came out, and why. `path` is relative to the folder."""

    what: str
    state: State
    said: str
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The manifests of a folder: by (arm, seed, generation) and step, with the folders that hold them."""

    folder: ExperimentFolder
    steps: Mapping[tuple[str, int, int], Mapping[str, Manifest]]
    damaged: tuple[Check, ...] = ()
    removed: frozenset[Path] = field(default_factory=frozenset)

    def relative(self, path: Path) -> str:
        """A path as it is shown."""
        try:
            return path.resolve().relative_to(self.folder.root.resolve()).as_posix()
        except ValueError:
            return str(path)

    @property
    def manifests(self) -> list[Manifest]:
        """Every manifest once, in path order."""
        own = {(m.folder, m.step): m for steps in self.steps.values() for m in steps.values()}
        return [own[key] for key in sorted(own)]


def same_code(environment: Mapping[str, Any]) -> bool:
    """Whether the folder says that this version of factfade made it."""
    made = environment.get("versions")
    return isinstance(made, Mapping) and made.get("factfade") == versions.version("factfade")


# ---------------------------------------------------------------------------------------------------------------
# Manifests and files


def find(folder: ExperimentFolder) -> Found:
    """Every manifest that can be read; those that cannot are checks."""
    steps: dict[tuple[str, int, int], dict[str, Manifest]] = {}
    damaged: dict[str, Check] = {}
    found = Found(folder=folder, steps=steps)
    for run in folder.runs():
        places = [(0, run.start)]
        for place in sorted([*run.path.glob("generation-*"), *run.path.glob("checkpoints/*")]):
            number = place.name.removeprefix("generation-").split("-")[0]
            if number.isdigit() and int(number) > 0 and place.is_dir():
                places.append((int(number), place))
        for generation, place in places:
            for path in sorted(place.glob("*.json")) if place.is_dir() else []:
                if not is_name(path.stem):
                    continue
                try:
                    manifest = read_manifest(inside(place, path.name))
                    if manifest is not None and manifest.step != path.stem:
                        raise IntegrityError(f"it is the manifest of {manifest.step}", path=path)
                except FactfadeError as error:
                    name = found.relative(path)
                    damaged[name] = Check(what="manifest", state="damaged", said=error.message, path=name)
                    continue
                if manifest is not None:
                    steps.setdefault((run.arm, run.seed, generation), {})[manifest.step] = manifest
    removed = frozenset(m.folder for m in found.manifests if _weights_removed(m))
    return Found(folder=folder, steps=steps, damaged=tuple(damaged.values()), removed=removed)


def _weights_removed(manifest: Manifest) -> bool:
    """Whether weights were published and not one file of them is there: removed as a whole, not damaged."""
    weights = [name for name in manifest.files if name.startswith(f"{CHECKPOINT}/") and name.endswith(WEIGHTS)]
    return bool(weights) and not any((manifest.folder / name).exists() for name in weights)


def files(found: Found) -> Iterator[Check]:
    """Every file of every manifest, hashed again."""
    yield from found.damaged
    count = size = 0
    for manifest in found.manifests:
        gone = manifest.folder in found.removed
        for name, entry in manifest.files.items():
            if gone and name.startswith(f"{CHECKPOINT}/") and not (manifest.folder / name).exists():
                continue
            try:
                manifest.verify_file(name)
            except (FactfadeError, OSError) as error:
                said = error.message if isinstance(error, FactfadeError) else f"cannot be read: {error.strerror}"
                place = found.relative(manifest.folder / name)
                yield Check(what="file", state="damaged", said=said, path=place)
                continue
            count, size = count + 1, size + entry.bytes
    said = f"{count:,} files ({size / 1e6:,.1f} MB) of {len(found.manifests):,} manifests are as they were written"
    yield Check(
        what="files", state="verified" if count else "unchecked", said=said if count else "nothing is committed"
    )
    for path in sorted(found.removed):
        said = "the weights were removed: neither they nor what was read from them can be looked at again"
        yield Check(what="weights", state="unchecked", said=said, path=found.relative(path / CHECKPOINT))


def strangers(found: Found) -> Iterator[Check]:
    """What no manifest lists: never read as a result, and covered by no hash."""
    try:
        left = upkeep.leftovers(found.folder.root)
    except FactfadeError:
        return  # said of the manifest already
    unlisted = [one.path for one in left if one.kind == "unlisted"]
    if unlisted:
        shown = ", ".join(found.relative(path) for path in unlisted[:5])
        more = f" and {len(unlisted) - 5} more" if len(unlisted) > 5 else ""
        yield Check(what="unlisted", state="unchecked", said=f"no manifest lists {shown}{more}: they are never read")
    others = [one for one in left if one.kind != "unlisted"]
    if others:
        said = f"{len(others)} leftovers of interrupted writes are never read; `factfade doctor` counts them"
        yield Check(what="unlisted", state="unchecked", said=said)


# ---------------------------------------------------------------------------------------------------------------
# Weights and what was made from what


def weights(found: Found) -> Iterator[Check]:
    """Identities of checkpoints: what each step says it read, what training says it wrote, and what is on the disk."""
    agreed = hashed = 0
    for run in dict.fromkeys((arm, seed) for arm, seed, _ in found.steps):
        own = {g: steps for (arm, seed, g), steps in found.steps.items() if (arm, seed) == run}
        claims = _claims(own)
        for generation, said in sorted(claims.items()):
            actual = _actual(found, own.get(generation, {}))
            place = f"{run[0]}/seed-{run[1]}, generation {generation}"
            if isinstance(actual, Check):
                yield actual
            elif actual is not None:
                said = [("the weights on the disk", actual), *said]
                hashed += 1
            first = said[0]
            for who, identity in said[1:]:
                if identity != first[1]:
                    text = f"{place}: {first[0]} have identity {first[1][:12]}, but {who} has {identity[:12]}"
                    yield Check(what="identity", state="damaged", said=safe_text(text, limit=400, keep=""))
            agreed += len(said) - 1
        yield from _inputs(own, run)
    if agreed or hashed:
        trained = f"{hashed} checkpoints are the ones that were trained; " if hashed else ""
        said = f"{trained}{agreed} statements of which weights were read agree"
        yield Check(what="identity", state="verified", said=said)


def _claims(own: Mapping[int, Mapping[str, Manifest]]) -> dict[int, list[tuple[str, str]]]:
    """By generation: who names which identity of its checkpoint."""
    claims: dict[int, list[tuple[str, str]]] = {}

    def claim(generation: int, who: str, identity: Any) -> None:
        if isinstance(identity, str) and identity:
            claims.setdefault(generation, []).append((who, identity))

    for g, steps in sorted(own.items()):
        inputs = {name: _mapping(manifest.key.get("inputs")) for name, manifest in steps.items()}
        if "train" in steps:
            training = _mapping(_mapping(steps["train"].key.get("settings")).get("training"))
            claim(g, f"train.json of generation {g}", steps["train"].record.get("identity"))
            before = 0 if training.get("start") == "base" else g - 1
            claim(before, f"train.json of generation {g}", inputs["train"].get("checkpoint"))
        if "synthesize" in steps:
            claim(g - 1, f"synthesize.json of generation {g}", inputs["synthesize"].get("checkpoint"))
        if "evaluate" in steps:
            claim(g, f"evaluate.json of generation {g}", inputs["evaluate"].get("checkpoint"))
            claim(0, f"evaluate.json of generation {g}", inputs["evaluate"].get("reference"))
    return claims


def _actual(found: Found, steps: Mapping[str, Manifest]) -> str | Check | None:
    """The identity of the weights that a training published; None where there are none, a check where damaged."""
    train = steps.get("train")
    if train is None or train.folder in found.removed:
        return None
    place = train.folder / CHECKPOINT
    if not place.is_dir():
        return None
    try:
        return checkpoint_identity(place)
    except NotFound as error:
        return Check(what="identity", state="unchecked", said=error.message, path=found.relative(place))
    except (FactfadeError, OSError) as error:
        return Check(what="identity", state="damaged", said=str(error), path=found.relative(place))


def _inputs(own: Mapping[int, Mapping[str, Manifest]], run: tuple[str, int]) -> Iterator[Check]:
    """Trainings name the contents of every synthesis that they read."""
    for g, steps in sorted(own.items()):
        inputs = _mapping(steps["train"].key.get("inputs")) if "train" in steps else {}
        for name, identity in sorted(inputs.items()):
            number = name.removeprefix("synthesize-")
            made = own.get(int(number), {}).get("synthesize") if number.isdigit() else None
            if made is not None and made.identity != identity:
                text = (
                    f"{run[0]}/seed-{run[1]}: training {g} read another synthesis {number} than the one that is there"
                )
                yield Check(what="identity", state="damaged", said=text)


def start_model(found: Found, settings: Mapping[str, Any]) -> Iterator[Check]:
    """The start model lies outside the folder: looked at where its path leads to weights on this machine."""
    named = next((dict(_claims({0: s}))[0] for (_, _, g), s in found.steps.items() if g == 0 and _claims({0: s})), None)
    if not named:
        return
    path = str(_mapping(settings.get("model")).get("path") or "")
    shown = safe_text(path, limit=120, keep="")
    place = world.model_path() if path == "world" else Path(path)
    if not path or not place.is_dir():
        said = f"the start model {shown} is not on this machine: its identity {named[0][1][:12]} is not compared"
        yield Check(what="start model", state="unchecked", said=said)
        return
    try:
        actual = checkpoint_identity(place)
    except (FactfadeError, OSError) as error:
        yield Check(what="start model", state="unchecked", said=f"{shown}: {error}")
        return
    if actual == named[0][1]:
        yield Check(what="start model", state="verified", said=f"{shown} is the model that was evaluated at first")
    else:
        # It lies outside: another model at that path is no damage to what is stored here.
        said = f"{shown} is now another model ({actual[:12]}) than the one that was evaluated ({named[0][1][:12]})"
        yield Check(what="start model", state="unchecked", said=said)


# ---------------------------------------------------------------------------------------------------------------
# Settings and the rule


def settings(folder: ExperimentFolder) -> Iterator[Check]:
    """The environment's record; a run's settings and rule against the hashes that were recorded before generation 1."""
    try:
        environment = folder.environment()
    except (FactfadeError, OSError) as error:
        yield Check(what="environment", state="damaged", said=str(error), path=ENVIRONMENT)
        return
    yield from _environment(folder, environment)
    if not isinstance(folder, AuditFolder):
        yield from _experiment(folder, environment)


def _environment(folder: ExperimentFolder, environment: Mapping[str, Any]) -> Iterator[Check]:
    path = folder.root / ENVIRONMENT
    if not environment or not path.is_file():
        yield Check(what="environment", state="unchecked", said=f"there is no {ENVIRONMENT}", path=ENVIRONMENT)
        return
    if durable.json_bytes(environment) != path.read_bytes():
        yield Check(what="environment", state="damaged", said="has another form than was written", path=ENVIRONMENT)
    first = {name: value for name, value in environment.items() if name != "resumed"}
    records = [first, *environment.get("resumed", [])]
    sealed = [keys.seal_holds(record) for record in records]
    if False in sealed:
        which = "the record of the first session" if not sealed[0] else f"resumed record {sealed.index(False)}"
        said = f"{which} is not what its own hash says"
        yield Check(what="environment", state="damaged", said=said, path=ENVIRONMENT)
    elif None in sealed:
        said = "it carries no hash of itself: what it says of versions and inputs is taken as it stands"
        yield Check(what="environment", state="unchecked", said=said, path=ENVIRONMENT)
    else:
        said = "the record of where and when it ran is as it was written"
        yield Check(what="environment", state="verified", said=said, path=ENVIRONMENT)


def _experiment(folder: ExperimentFolder, environment: Mapping[str, Any]) -> Iterator[Check]:
    records = [environment, *environment.get("resumed", [])]
    hashes = [one.get("experiment_sha256") for one in records if isinstance(one, Mapping)]
    try:
        experiment = Experiment.model_validate(folder.settings())
    except (FactfadeError, ValueError, OSError) as error:
        said = safe_text(error, limit=400, keep="")
        yield Check(what="settings", state="damaged", said=f"are no experiment: {said}", path=EXPERIMENT)
        return
    same = same_code(environment)
    if not any(hashes):
        yield Check(what="settings", state="unchecked", said="no hash of the settings was recorded", path=EXPERIMENT)
    elif experiment.sha256 not in hashes:
        yield Check(
            what="settings",
            state="damaged" if same else "unchecked",
            said="are not those whose hash was recorded" + ("" if same else ", by another version of factfade"),
            path=EXPERIMENT,
        )
    elif (folder.root / EXPERIMENT).read_text("utf-8") != config.to_toml(experiment.resolved()):
        yield Check(what="settings", state="damaged", said="have another form than was written", path=EXPERIMENT)
    else:
        said = f"are those whose hash was recorded ({experiment.sha256[:12]})"
        yield Check(what="settings", state="verified", said=said, path=EXPERIMENT)
    yield rule_check(experiment, environment)


def rule_check(experiment: Experiment, environment: Mapping[str, Any]) -> Check:
    """The stage rule of the settings against the one that was hashed before generation 1."""
    declared = environment.get("stage_rule_sha256")
    rule = stages.Rule.from_section(experiment.stages)
    if not declared:
        return Check(what="stage rule", state="unchecked", said="no rule was declared before generation 1")
    if declared == rule.sha256:
        said = f"is the one that was declared before generation 1 ({rule.sha256[:12]})"
        return Check(what="stage rule", state="verified", said=said)
    older = [n for n in range(1, stages.VERSION) if rule_sha256_under(rule, n) == declared]
    if older:
        said = (
            f"has the declared margins, but was declared under version {older[0]} of the rule's code; this is version "
            f"{stages.VERSION}: the stored calls are that version's"
        )
        return Check(what="stage rule", state="unchecked", said=said)
    return Check(what="stage rule", state="damaged", said="is not the one that was declared before generation 1")


def rule_sha256_under(rule: stages.Rule, version: int) -> str:
    """The hash of a rule's margins under an earlier version of its code."""
    return sha256_text(canonical_json({**rule.resolved(), "version": version}))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
