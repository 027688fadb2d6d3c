"""(group, kind) -> "module:Class". Built-in parts stand in one table; third parties add theirs by entry point.

A third party's entry point group is `factfade.<group>`; its name is the kind. Nothing is imported until a part is
built, so listing the parts costs nothing.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, NamedTuple

from factfade import versions
from factfade.errors import ConfigError, MissingExtra


class Part(NamedTuple):
    """One line of `factfade parts`: where the part is, what it does, where it comes from."""

    target: str
    summary: str
    source: str = ""


_D = "factfade.data."
_M = "factfade.mitigations."
_A = "factfade.analysis."
_T = "factfade.training."
BUILTIN: dict[str, dict[str, Part]] = {
    "corpus": {
        "world": Part(
            "factfade.world.documents:WorldCorpus", "documents of the embedded world, made by seed", "open fact tables"
        ),
        "text": Part(_D + "corpora:TextCorpus", "a local text file, paragraphs or blank-line documents"),
        "jsonl": Part(_D + "corpora:JsonlCorpus", "a local JSON Lines file with a text field"),
        "parquet": Part(_D + "corpora:ParquetCorpus", "a local parquet file with a text column"),
        "hub": Part(_D + "corpora:HubCorpus", "a hub data set by name and revision (extra: hub)"),
    },
    "questions": {
        "world": Part(
            "factfade.world.questions:WorldQuestions", "every fact of the embedded world", "open fact tables"
        ),
        "mmlu": Part(
            _D + "questions:MmluQuestions",
            "MMLU subjects from local JSON Lines files or the hub",
            "Hendrycks et al. 2021",
        ),
        "jsonl": Part(
            _D + "questions:JsonlQuestions",
            "a local JSON Lines file: question with choices and answer, or with answers",
        ),
        "pack": Part(_D + "packs:PackQuestions", "a question pack: questions, formats and licence in one file"),
        "known_1000": Part(
            _D + "questions:ClozeQuestions",
            "cloze facts with subject, prompt, attribute and relation",
            "Meng et al. 2022",
        ),
    },
    "format": {
        "multiple_choice": Part(
            _D + "formats:MultipleChoice", "instruction, lettered options; the letter is scored", "arXiv 2509.04796"
        ),
        "multiple_choice_few_shot": Part(
            _D + "formats:MultipleChoiceFewShot", "three solved examples, lettered options", "arXiv 2509.04796"
        ),
        "no_instruction": Part(_D + "formats:NoInstruction", "question and lettered options alone", "arXiv 2509.04796"),
        "short_answer": Part(
            _D + "formats:ShortAnswer", "options listed without letters; option texts are scored", "arXiv 2509.04796"
        ),
        "open_ended": Part(_D + "formats:OpenEnded", "no options: a statement to complete, or a question"),
        "cue_recovery": Part(
            _D + "probes:CueRecovery",
            "probe: asked plainly, with a suffix that says nothing, with a part of the answer",
            "arXiv 2411.11932",
        ),
        "knowledge_retention": Part(
            _D + "probes:KnowledgeRetention", "probe: a true against a false continuation", "arXiv 2509.08972"
        ),
        "attribution": Part(
            _D + "probes:Attribution", "probe: the question with one of its segments taken out", "arXiv 2412.18952"
        ),
    },
    "model": {
        "hf": Part(
            "factfade.models.hf:HfModel",
            "any causal language model in transformers format (safetensors, no remote code)",
        )
    },
    "prompts": {
        "general": Part(_M + "prompts:General", "human blocks of the whole corpus", "arXiv 2509.04796"),
        "domain": Part(_M + "prompts:Domain", "human blocks of one domain only", "arXiv 2509.04796"),
        "shard_changed": Part(
            _M + "prompts:ShardChanged", "general, one shard of the first human text changed", "arXiv 2502.18865"
        ),
        "fact_anchored": Part(
            _M + "anchored:FactAnchored", "human blocks behind trusted facts that fit them", "arXiv 2601.19506"
        ),
        "chained": Part(_M + "prompts:Chained", "the previous generation's own completions: no human text re-enters"),
    },
    "pool": {
        "replace": Part(_M + "pools:Replace", "this generation's documents alone", "arXiv 2509.04796"),
        "accumulate": Part(_M + "pools:Accumulate", "all generations' documents together", "arXiv 2404.01413"),
        "accumulate_subsample": Part(
            _M + "pools:AccumulateSubsample",
            "all generations' documents, subsampled to one generation's size",
            "arXiv 2410.16713",
        ),
        "constant_human_fraction": Part(
            _M + "balance:ConstantHumanFraction",
            "human text is a constant share of what is trained on, under any workflow",
            "arXiv 2502.18865",
        ),
        "golden_ratio": Part(
            _M + "balance:GoldenRatio",
            "human text gets the weight (sqrt(k^2 + 4k) - k) / 2, k = human / synthetic size",
            "arXiv 2502.18049",
        ),
        "curriculum": Part(
            _M + "curriculum:Curriculum",
            "the share or difficulty of synthetic text rises by generation, gated on competence",
            "arXiv 2511.07372",
        ),
        "near_duplicates": Part(
            _M + "duplicates:NearDuplicates",
            "one of several documents whose n-grams are almost the same",
            "arXiv 2107.06499",
        ),
        "entropy_rate": Part(
            _M + "entropy_rate:EntropyRate",
            "the documents of highest entropy rate by match lengths: no model is asked",
            "Kontoyiannis et al. 1998, arXiv 2410.12341",
        ),
        "detector_weights": Part(
            _M + "detector:DetectorWeights",
            "what a detector takes for human is drawn more often: (1 - confidence)^10",
            "arXiv 2502.15654",
        ),
        "surplexity": Part(
            _M + "surplexity:Surplexity",
            "the documents that surprise the model about to be trained most",
            "arXiv 2410.12341",
        ),
        "token_edit": Part(
            _M + "token_edit:TokenEdit",
            "human documents whose foreseen tokens are drawn anew by a model",
            "arXiv 2412.14689",
        ),
        "rgd_replay": Part(
            _M + "replay:RgdReplay",
            "earlier human text again, most of the domains that have become hardest",
            "arXiv 2411.11932",
        ),
        "verifier": Part(
            _M + "verifier:Verifier",
            "completions that contradict a trusted table of facts are left out",
            "arXiv 2602.23446",
        ),
    },
    "objective": {
        "cross_entropy": Part(_T + "objectives:CrossEntropy", "mean token cross-entropy"),
        "truncated_cross_entropy": Part(
            _T + "truncated:TruncatedCrossEntropy",
            "cross-entropy of the tokens that the model is not sure of (ForTIFAI)",
            "arXiv 2509.08972",
        ),
        "spectral_decoupling": Part(
            _T + "objectives:SpectralDecoupling", "cross-entropy and a price on large logits", "arXiv 2011.09468"
        ),
        "format_consistency": Part(
            _T + "consistency:FormatConsistency",
            "cross-entropy and a price on answers that depend on how a question is put",
            "arXiv 2011.09789",
        ),
        "kl_to_start": Part(
            _T + "kl:KlToStart", "cross-entropy and a price on moving away from the start model", "arXiv 1606.09282"
        ),
    },
    "facts": {
        "world": Part("factfade.world.facttable:WorldFacts", "the facts of the embedded world", "open fact tables"),
        "jsonl": Part(_D + "facttable:JsonlFacts", "a local JSON Lines table of facts"),
    },
    "after_training": {
        "recovery": Part(
            _M + "recovery:Recovery", "the step of the training, taken back in weight space", "Alemohammad et al. 2025"
        )
    },
    "trainer": {
        "hf": Part(
            "factfade.training.trainer:HfTrainer", "transformers' Trainer, full parameters or LoRA (extra: lora)"
        )
    },
    "metric": {
        "accuracy": Part(
            "factfade.metrics.knowledge:Accuracy",
            "choice accuracy: raw, balanced, kappa, skill over the majority baseline",
        ),
        "choices": Part("factfade.metrics.knowledge:Choices", "greedy rate and max frequency", "arXiv 2509.04796"),
        "outcomes": Part("factfade.metrics.formats:Outcomes", "shares of the outcomes of free answers; parse rate"),
        "confidence": Part(
            "factfade.metrics.calibration:Confidence", "confidences of right and of wrong choices and answers"
        ),
        "calibration": Part(
            "factfade.metrics.calibration:Calibration",
            "Brier score and its parts, calibration error with its null band, AUROC of the confidence",
        ),
        "perplexity": Part(
            "factfade.metrics.fluency:Perplexity",
            "held-out, own and own-under-start perplexity; token-weighted and the paper's",
        ),
        "junk": Part(
            "factfade.metrics.fluency:Junk", "shares of empty, near-constant, repetitive and duplicated completions"
        ),
        "diversity": Part("factfade.metrics.diversity:Diversity", "entropy at fixed length, distinct-n, repetition"),
    },
    # Asked for with `factfade analyse --kind`: functions from a study to findings. No model is touched.
    "analysis": {
        "trend": Part(_A + "trends:findings", "did these checkpoints fall; does the recipe make them fall; since when"),
        "slope": Part(_A + "slopes:findings", "loss a generation, by format; ratios of slopes", "arXiv 2509.04796"),
        "decay": Part(_A + "decay:findings", "error_floor: y = floor + (y0 - floor) exp(-k g)", "arXiv 2602.23446"),
        "retention": Part(
            _A + "retention:findings", "items known at generation 0: lost, kept, beside chance", "Azancort 2026"
        ),
        "calibration": Part(_A + "calibration:findings", "confidence when right and when wrong, over generations"),
        "cues": Part(_A + "cues:findings", "cue_recovery: what a cue brings back was not erased", "arXiv 2411.11932"),
        "continuations": Part(
            _A + "continuations:findings",
            "knowledge_retention: true against false; time to failure",
            "arXiv 2509.08972",
        ),
        "ablation": Part(
            _A + "ablation:findings", "attribution: how much of an answer hangs on the entity", "arXiv 2412.18952"
        ),
        "sensitivity": Part(
            _A + "sensitivity:findings", "format sensitivity: answers under one wording and another", "arXiv 2011.09789"
        ),
        "mediation": Part(
            _A + "mediation:findings", "how much of a loss goes through format adherence", "arXiv 2502.05085"
        ),
        "lead_lag": Part(_A + "lead_lag:findings", "which indicator leads the loss of knowledge", "arXiv 2310.00489"),
        "stability": Part(
            _A + "stability:findings", "recursive_stability: two chains, one shard of text changed", "arXiv 2502.18865"
        ),
    },
    # Closed forms that the loop itself is held to (docs/theory.md).
    "theory": {
        "entropy_decay": Part(
            "factfade.theory.forms:entropy_loss", "entropy falls by about (K - 1) / 2N a generation", "arXiv 2601.05280"
        ),
        "variance_amplification": Part(
            "factfade.theory.forms:drift",
            "the mean's variance grows by about sigma^2 / N a generation",
            "arXiv 2601.05280",
        ),
    },
    "launcher": {"local": Part("factfade.launchers.local:LocalLauncher", "local processes, one thread each")},
}


def kinds(group: str) -> dict[str, Part]:
    """Every kind of a group, built-ins first, then third parties' (which may not replace a built-in)."""
    if group not in BUILTIN:
        raise ConfigError(f"there is no group of parts called {group!r}", hint=nearest(group, BUILTIN))
    found = dict(BUILTIN[group])
    for point in metadata.entry_points(group=f"factfade.{group}"):
        distribution = point.dist.name if point.dist else "an unnamed package"
        found.setdefault(point.name, Part(point.value, f"from the package {distribution}"))
    return found


def groups() -> Iterator[tuple[str, dict[str, Part]]]:
    """All groups with all their kinds, in the table's order."""
    for group in BUILTIN:
        yield group, kinds(group)


def find(group: str, kind: str) -> type:
    """The class of a part. Raises ConfigError naming the nearest kind, MissingExtra when its package is absent."""
    table = kinds(group)
    if kind not in table:
        raise ConfigError(f"{group} has no kind {kind!r}", hint=nearest(kind, table))
    module, _, name = table[kind].target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith("factfade"):
            extra = next((e for e, package in versions.EXTRAS.items() if package == error.name), error.name)
            raise MissingExtra(f"{group} {kind!r}", extra=extra) from error
        raise


def build(group: str, spec: str | Mapping[str, Any], **common: Any) -> Any:
    """A part from its table in the experiment file: `{kind = "domain", domain = "geography"}` or just "domain".

    `common` are values the caller offers; a part takes those that are fields of it and that the table leaves out.
    Unknown and missing keys raise ConfigError with the nearest known name.
    """
    table = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = table.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"a part of {group} needs a kind", hint="kinds: " + ", ".join(kinds(group)))
    cls = find(group, kind)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in table:
        if key not in fields:
            raise ConfigError(f"{group} {kind!r} has no setting {key!r}", hint=nearest(key, fields))
    values = {k: v for k, v in common.items() if k in fields} | {k: _frozen(v) for k, v in table.items()}
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ConfigError(
                f"{group} {kind!r} needs the setting {name!r}", hint=f'{{ kind = "{kind}", {name} = ... }}'
            )
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{group} {kind!r}: {error}", hint="see `factfade parts`") from error


def nearest(name: str, known: Any) -> str:
    """A hint that names the nearest known name, or all of them when none is near."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "known: " + (", ".join(names) or "none")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
