"""What a domain is asked for: the tested questions, and the questions that may stand in a query because nobody tests
them.

A query never rests on tested items alone. By default it holds none of them: it is made of the domain's name and of the
questions of other splits (MMLU: dev and validation; other sets: their solved examples). A question of those that is
also tested is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from factfade import registry
from factfade.audit_settings import question_spec
from factfade.domain.words import terms
from factfade.errors import ConfigError, DataError, NotFound, UsageError
from factfade.records import Question, canonical_json, sha256_text
from factfade.registry import nearest

Source = Literal["split", "name", "all"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A domain. `tested` are asked of a model; `known` may stand in a query; `others` are the untested questions of
    other domains of the set, `names` those domains' names; `facts` go into the record."""

    name: str
    topic: str
    tested: tuple[Question, ...]
    known: tuple[Question, ...]
    others: tuple[Question, ...]
    names: tuple[str, ...]
    facts: Mapping[str, Any]

    def topic_terms(self) -> tuple[str, ...]:
        """Terms of the topic that no other domain's name has; where each is shared, those that the fewest have."""
        shared = {term: sum(term in terms(_spoken(name)) for name in self.names) for term in terms(self.topic)}
        fewest = min(shared.values(), default=0)
        return tuple(term for term, count in shared.items() if count == fewest)

    def query_texts(self, source: Source) -> tuple[str, ...]:
        """The questions that make the query, each with its options and its answer."""
        chosen = {"name": (), "split": self.known, "all": (*self.known, *self.tested)}[source]
        return tuple(full_text(question) for question in chosen)


def full_text(question: Question) -> str:
    """Question, statement, options and accepted answers as one text."""
    parts = (question.text, question.statement or "", *question.choices, *question.accepted)
    return " ".join(part for part in parts if part)


def parse(text: str, *, mmlu: str | None, topic: str | None, source: Source) -> Target:
    """The target that `--questions` names.

    `MMLU:subject` (with the folder `mmlu`, or from the hub without), `world`, a JSON Lines file, a pack or a folder of
    MMLU; all but a single-domain file with `:domain` behind. `topic` replaces the domain's name in the query.
    UsageError where nothing is left that a query could be made of.
    """
    spec, domain = _split(text, mmlu)
    if spec["kind"] == "mmlu":
        found = _mmlu(spec, domain)
    else:
        part = registry.build("questions", spec)
        found = tuple(part.items()), tuple(part.dev()), {"splits": ["examples"], "identity": part.identity}
    tested, known, facts = found
    domains = sorted({question.domain for question in tested})
    if domain is None and len(domains) > 1 and topic is None:
        shown = ", ".join(name or '""' for name in domains[:8])
        raise UsageError(
            f"the questions belong to {len(domains)} domains", hint=f"name one: {text}:DOMAIN, one of {shown}"
        )
    name = domain or (domains[0] if len(domains) == 1 else "")
    if domain is not None and domain not in domains:
        raise DataError(f"no question of the domain {domain!r}", file=text, hint=nearest(domain, domains))
    if not (name or topic):
        raise UsageError("the questions name no domain", hint='say what they are about: --topic "world religions"')
    inside = (lambda q: q.domain == name) if domain is not None or len(domains) == 1 else (lambda _: True)
    asked = tuple(question for question in tested if inside(question))
    keys = {(question.text, question.statement, question.choices) for question in tested}
    free = [q for q in known if (q.text, q.statement, q.choices) not in keys]
    own = tuple(question for question in free if inside(question))
    others = tuple(question for question in free if not inside(question))
    target = Target(
        name=_slug(name or topic or ""),
        topic=topic or _spoken(name),
        tested=asked,
        known=own,
        others=others,
        names=tuple(sorted({q.domain for q in others} | {d for d in domains if d != name})),
        facts={
            **facts,
            "tested": len(asked),
            "untested": len(own),
            "of_other_domains": len(others),
            "left_out_as_tested": len(known) - len(free),
            "tested_sha256": sha256_text(canonical_json(sorted(q.item for q in asked))),
        },
    )
    if source == "all" and not own:
        raise UsageError(
            "the set has no untested questions, and a query is never made of tested ones alone",
            hint="leave --query-from out: the domain's name is then the query; or give the set solved examples",
        )
    return target


def _split(text: str, mmlu: str | None) -> tuple[dict[str, Any], str | None]:
    """The question set's table and the domain's name."""
    head, colon, tail = text.rpartition(":")
    if head.casefold() == "mmlu":
        if not tail:
            raise ConfigError("MMLU: names no subject", hint="e.g. --questions MMLU:world_religions")
        return {"kind": "mmlu", "path": mmlu}, tail
    if colon and tail and not Path(text).exists():
        return question_spec(head), tail
    return question_spec(text), None


def _mmlu(
    spec: Mapping[str, Any], subject: str | None
) -> tuple[tuple[Question, ...], tuple[Question, ...], dict[str, Any]]:
    """Test questions; dev and validation questions of every subject (from the hub: of the one subject)."""
    base: dict[str, Any] = {"kind": "mmlu"}
    if spec["path"] is not None:
        base["path"] = spec["path"]
    elif subject is not None:
        base["subjects"] = [subject]
    test = registry.build("questions", base)
    tested, known = tuple(test.items()), list(test.dev())
    splits = ["dev"]
    try:
        validation = registry.build("questions", {**base, "split": "validation"})
        known += validation.items()
        splits.append("validation")
    except NotFound:
        pass  # a folder without it: the record says that dev alone was used
    return tested, tuple(dict.fromkeys(known)), {"splits": splits, "identity": test.identity}


def _spoken(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _slug(name: str) -> str:
    return "_".join(_spoken(name).split()) or "domain"
