"""Run one arm with one seed: the whole recursion, in the paper's order. READ THIS FIRST.

    checkpoint[g-1] + prompts  --synthesize-->  completions
    completions + human text   --pool parts-->  training set
    training set + objective   --train------->  checkpoint[g]
    checkpoint[g]              --evaluate---->  evidence[g]

Source: arXiv 2509.04796. Every step is committed or absent: running again skips what is committed and goes on from
there. No part is named here: the experiment names them and the registry finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from factfade import durable, evaluate, mixing, sharing, store, synthesize, tables
from factfade.assembly import Parts, assemble
from factfade.config import Experiment
from factfade.data.blocks import BlockSource, human_document
from factfade.history import COMPLETIONS_FILE, HUMAN_FILE, TRAINING_SET_FILE, RunHistory, human_lines
from factfade.identity import checkpoint_identity
from factfade.protocols import Progress
from factfade.records import derived_seed
from factfade.store import RunFolder


def run_arm(
    experiment: Experiment,
    arm: str,
    seed: int,
    root: Path,
    *,
    progress: Progress,
    until: int | None = None,
    allow: Sequence[str] = (),
    parts: Parts | None = None,
) -> None:
    """Trains and evaluates generations 1 to `until` (default: the experiment's last) of one arm with one run seed.

    `root` is the experiment's folder, made by `store.create_experiment`. Raises errors of `factfade.errors`; whatever
    is committed by then stays. `allow` names libraries whose version may differ from the stored steps'. `parts` takes
    the place of those that the arm names (the recursion with a model that has a theory: `factfade.theory`).
    """
    parts = parts or assemble(experiment, arm)
    if parts.reads_evidence:  # generation 0 may be in the works elsewhere, or not begun
        run_start(experiment, root, progress=progress, allow=allow)
    run = store.open_experiment(root).run(arm, seed)
    work = Work(parts=parts, run=run, seed=seed, start=parts.start(), progress=progress, allow=tuple(allow))
    with run.lock():
        for generation in range(1, (until or experiment.experiment.generations) + 1):
            now = replace(work, generation=generation)
            now.synthesize()
            now.train()
            if generation in experiment.evaluated():
                now.evaluate(lineage=arm)


def run_start(experiment: Experiment, root: Path, *, progress: Progress, allow: Sequence[str] = ()) -> None:
    """Evaluates generation 0, the untouched start model, once for all arms and seeds."""
    folder = store.open_experiment(root)
    arm = next(iter(experiment.arms))
    parts, run = assemble(experiment, arm), folder.run(arm, experiment.experiment.seeds[0])
    with store.start_lock(folder, wait=7200.0):
        work = Work(parts=parts, run=run, seed=0, start=parts.start(), progress=progress, allow=tuple(allow))
        work.evaluate(lineage="")


@dataclass(frozen=True, kw_only=True)
class Work:
    """The three steps of one generation of one run: `run` says where, `parts` says how."""

    parts: Parts
    run: RunFolder
    seed: int
    start: Path
    progress: Progress
    allow: tuple[str, ...] = ()
    generation: int = 0

    def synthesize(self) -> None:
        """Human blocks -> the share of them that the previous model continues, and the human documents beside."""
        plan, g = self.parts.plan, self.generation
        previous = self._checkpoint(g - 1)
        step = self._step(
            "synthesize", self.parts.synthesize_key(self.seed, {"checkpoint": checkpoint_identity(previous)})
        )
        if step.committed or sharing.adopted(step, self.run, lineage=plan.name):
            return
        with self.parts.model(previous).open() as model, step.writing() as draft:
            source = BlockSource(
                self.parts.corpus, model.encode, block_tokens=plan.synthesis.block, eos=model.facts["eos"]
            )
            history = RunHistory(
                run=self.run, generation=g - 1, start=self.start, source=source, spec=self.parts.model, reader=model
            )
            blocks = self.parts.prompts.blocks(history, count=plan.synthesis.blocks, generation=g, seed=self.seed)
            chosen, kept = synthesize.choose(blocks, plan.arm.synthetic_fraction, seed=self.seed, generation=g)
            rows = synthesize.synthesize(
                model,
                chosen,
                plan.synthesis,
                lineage=plan.name,
                seed=self.seed,
                generation=g - 1,
                progress=self.progress,
            )
            shares = synthesize.junk_shares(rows)
            synthesize.junk_gate(shares, plan.synthesis)
            texts = [block for block in blocks if block.source == "human"]
            human = [human_document(block, plan.synthesis.new_tokens, model.decode) for block in texts]
            tables.write(draft.path / COMPLETIONS_FILE, rows, "completions")
            durable.write_text(draft.path / HUMAN_FILE, human_lines(human, kept={block.id for block in kept}))
            draft.record.update(
                blocks=len(blocks),
                synthetic=len(rows),
                human=len(kept),
                junk=shares,
                completions=synthesize.record(rows, plan.synthesis, chosen),
                source=source.record(),
                requested_synthetic_fraction=plan.arm.synthetic_fraction,
                achieved_synthetic_fraction=shares["n"] / len(blocks),
                model=dict(model.facts),
            )

    def train(self) -> None:
        """Completions and human documents -> the pool parts, in order -> the weights of this generation."""
        plan, g = self.parts.plan, self.generation
        source = g - 1 if plan.training.start == "previous" else 0
        start = self._checkpoint(source)
        # A pool part may look back, so every synthesis so far is an input.
        inputs = {f"synthesize-{k}": store.step_identity(self.run.generation(k), "synthesize") for k in range(1, g + 1)}
        if self.parts.reads_evidence:
            inputs |= mixing.evidence_inputs(self.run, g)
        step = self._step(
            "train", self.parts.train_key(self.seed, {"checkpoint": checkpoint_identity(start), **inputs})
        )
        if step.committed:
            return
        history = RunHistory(run=self.run, generation=g, start=self.start, spec=self.parts.model, trained_from=source)
        with step.writing() as draft:
            pooled = mixing.mix(plan.pool, self.parts.pool, history, generation=g, seed=self.seed)
            if len(plan.pool) > 1:
                durable.write_text(draft.path / TRAINING_SET_FILE, pooled.lines())
            out, seed = draft.path / "checkpoint", derived_seed("train", self.seed, g)
            trained = self.parts.trainer.train(
                start,
                pooled.documents,
                self.parts.objective,
                out=out,
                seed=seed,
                progress=self.progress,
                sources=self.parts.sources(),
            )
            after = [dict(part.apply(out, history)) for part in self.parts.after_training]
            draft.times.update(trained.times, pool_seconds=pooled.seconds)
            draft.record.update(
                identity=checkpoint_identity(out),
                steps=trained.steps,
                tokens=trained.tokens,
                losses=list(trained.losses),
                training=dict(trained.record),
                pool=pooled.record,
                after_training=after,
            )

    def evaluate(self, *, lineage: str) -> None:
        """Weights -> evidence: every question in every format, and the fluency of the model's own text."""
        parts, path = self.parts, self._checkpoint(self.generation)
        inputs = {"checkpoint": checkpoint_identity(path), "reference": checkpoint_identity(self.start)}
        step = self._step("evaluate", parts.evaluate_key(inputs))
        if step.committed:
            return
        # Generation 0 is its own reference; later ones are read by the start model too.
        reference = parts.model(self.start) if self.generation else None
        settings = parts.plan.evaluation
        with parts.model(path).open() as model:
            material = evaluate.prepare(
                settings, parts.common, parts.questions, parts.formats, parts.common_corpus, model
            )
            evaluate.evaluate(
                model,
                reference,
                material,
                settings,
                step,
                lineage=lineage,
                seed=self.seed,
                generation=self.generation,
                progress=self.progress,
            )

    def _checkpoint(self, generation: int) -> Path:
        return self.start if generation == 0 else self.run.generation(generation) / "checkpoint"

    def _step(self, name: str, key: store.StepKey) -> store.Step:
        return store.step(self.run.generation(self.generation), name, key, allow=self.allow)
