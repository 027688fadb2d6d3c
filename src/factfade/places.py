"""What the places of a lineage are called: generations of a recursion, or the checkpoints of an audit.

An audit is judged by the loop's own code, whose sentences speak of generations. Its user has checkpoints and steps, so
what is shown of an audit passes `Places.said`: "generation 3" becomes "step 500", generation 0 "the base".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from factfade.verdicts import Condition, StageCall, StageReport

# Sentences of this package as an audit says them, in this order; what is left of "generation" follows.
_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\bcheckpoints \(seed 0\)[:,] ", ""),
        (r"\bcheckpoints, seed 0, ", ""),
        (r"\bcheckpoints, seed 0\b", "the checkpoints"),
        (r"\bcheckpoints/seed-0, ", ""),
        (r"\bOne run each of checkpoints: ", "One training run: "),
        (r"\band at which generation, needs several seeds\b", "and at which step, needs several runs"),
        (r"\bNo control of its own: ", "There is no control run: "),
        (r"\bNo control of its own\.", ""),
        (r"\bit has no control of its own\b", "there is no control run"),
        (r"\btraining like checkpoints makes\b", "such training makes"),
        (r"\bdeclared before generation 1\b", "declared before the first evaluation"),
        (r"\bno generation after the start has\b", "no checkpoint has"),
        (r"\bthe two generations\b", "the two"),
        (r"\bformats and generations of a run\b", "formats and checkpoints of the audit"),
        (r"\b([Tt])he start model\b", r"\1he base"),
        (r"\bstart model\b", "base"),
        (r"\bat the start\b", "at the base"),
        (r"\bstart \+ margin\b", "base + margin"),
        (r"\bfrom generation 0\b", "from the base"),
    )
)
# Names of folders (generation-003/checkpoint) are left as they are.
_NUMBERED = re.compile(r"(?<![\w/-])([Gg])eneration (\d+)\b")
# "in multiple_choice (open_ended from 3, short_answer from 4)": the onsets of other formats.
_LATER = re.compile(r"\bfrom (\d+)(?=[,)])")
_PLURAL, _ONE = (
    re.compile(r"(?<![\w/-])([Gg])enerations(?![\w/-])"),
    re.compile(r"(?<![\w/-])([Gg])eneration(?![\w/-])"),
)


@dataclass(frozen=True, kw_only=True)
class Places:
    """The words for the places of a lineage; as it stands, those of a recursion. `of` makes an audit's.

    `names` has a phrase for every place that is called otherwise than "generation N"; `ticks` what stands at an axis,
    `axis` what the axis is called and `short` the same where there is little room.
    """

    audited: bool = False
    noun: str = "generation"
    axis: str = "generation"
    short: str = "gen."
    names: Mapping[int, str] = field(default_factory=dict)
    ticks: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoints: Mapping[int, tuple[str, int | None]]) -> Places:
        """The places of an audit out of the name and the step of every position; 0 is the base.

        A checkpoint is called by its step where no other one has that step, else by its name. An axis shows steps
        where every checkpoint has one of its own, else positions.
        """
        own = {place: one for place, one in checkpoints.items() if place}
        steps = [step for _, step in own.values()]
        names = {
            place: f"step {step}" if step is not None and steps.count(step) == 1 else name
            for place, (name, step) in own.items()
        }
        whole = None not in steps and len(set(steps)) == len(steps)
        axis = "step" if whole else "checkpoint"
        ticks = {place: str(step) if whole else str(place) for place, (_, step) in own.items()}
        return cls(
            audited=True,
            noun="checkpoint",
            axis=axis,
            short="step" if whole else "ckpt.",
            names={0: "the base", **names},
            ticks={0: "base", **ticks},
        )

    def at(self, place: int) -> str:
        """What a place is called: "generation 3", "step 500", "the base", "final-model"."""
        return self.names.get(place, f"{self.noun} {place}")

    def head(self, place: int) -> str:
        """The same as a heading."""
        name = self.at(place)
        return f"{name[:1].upper()}{name[1:]}" if name.startswith(("step ", "the ", self.noun)) else name

    def tick(self, place: int) -> str:
        """What stands at an axis: "3", "500", "base"."""
        return self.ticks.get(place, str(place))

    def said(self, text: str) -> str:
        """A sentence of this package in the words of an audit; unchanged where there is none."""
        if not self.audited:
            return text
        for pattern, words in _WORDS:
            text = pattern.sub(words, text)
        text = _NUMBERED.sub(lambda m: (self.head if m[1] == "G" else self.at)(int(m[2])), text)
        text = _LATER.sub(lambda m: f"from {self.at(int(m[1]))}", text)
        text = _PLURAL.sub(lambda m: "Checkpoints" if m[1] == "G" else "checkpoints", text)
        text = _ONE.sub(lambda m: "Checkpoint" if m[1] == "G" else "checkpoint", text)
        return text.strip()

    def lines(self, lines: Sequence[str]) -> list[str]:
        """Lines of text in these words, each as far indented as it was; what has nothing to say of an audit goes."""
        told = [(line, line[: len(line) - len(line.lstrip())] + self.said(line.lstrip())) for line in lines]
        return [said for line, said in told if said.strip() or not line.strip()]

    def report(self, report: StageReport) -> StageReport:
        """The report with all of its sentences in these words; calls, numbers and rule are untouched."""
        if not self.audited:
            return report
        return replace(
            report,
            calls=tuple(self._call(one) for one in report.calls),
            overall=tuple(replace(one, sentence=self.said(one.sentence)) for one in report.overall),
            sentences={name: self.said(text) for name, text in report.sentences.items()},
            notes=tuple(self.said(text) for text in report.notes),
            guards=tuple(self.said(text) for text in report.guards),
        )

    def _call(self, call: StageCall) -> StageCall:
        return replace(
            call,
            sentence=self.said(call.sentence),
            attribution_sentence=self.said(call.attribution_sentence),
            conditions=tuple(self._condition(one) for one in call.conditions),
            attribution=None if call.attribution is None else self._condition(call.attribution),
        )

    def _condition(self, condition: Condition) -> Condition:
        return replace(condition, sentence=self.said(condition.sentence))
