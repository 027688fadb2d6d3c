"""Telling human from synthetic text by one logistic regression on hashed n-grams, fitted across folds."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factfade.records import Document, derived_seed, sha256_text

Floats = NDArray[np.float64]
_WORD = re.compile(r"\w+|[^\w\s]")


def features(texts: Sequence[str], *, ngram: int, size: int) -> Any:
    """Runs of 1 to `ngram` words (lower case; punctuation marks are words) as a sparse (texts, size) matrix.

    A run falls into the column crc32(run) mod size and counts 1 + log(times); rows have length 1 (0 without words).
    """
    from scipy.sparse import csr_matrix

    columns: list[int] = []
    values: list[float] = []
    starts = [0]
    for text in texts:
        words = _WORD.findall(text.lower())
        runs = (" ".join(words[at : at + n]) for n in range(1, ngram + 1) for at in range(len(words) - n + 1))
        times = Counter(zlib.crc32(run.encode("utf-8", "surrogatepass")) % size for run in runs)
        row = {column: 1.0 + math.log(count) for column, count in sorted(times.items())}
        norm = math.sqrt(sum(value * value for value in row.values()))
        columns.extend(row)
        values.extend(value / norm for value in row.values())
        starts.append(len(columns))
    return csr_matrix((np.array(values), np.array(columns, dtype=np.int64), starts), shape=(len(texts), size))


def fit(x: Any, synthetic: NDArray[np.bool_], *, penalty: float) -> Floats:
    """Coefficients and, last, the intercept of a logistic regression of P(synthetic).

    Minimises the sum of the log losses, both classes weighing the same in all, plus penalty / 2 times the squared
    coefficients (not the intercept's); by L-BFGS from 0.
    """
    from scipy.optimize import minimize

    n, k = x.shape
    y = np.where(synthetic, 1.0, -1.0)
    weight = np.where(synthetic, n / (2 * synthetic.sum()), n / (2 * (~synthetic).sum()))

    def loss(beta: Floats) -> tuple[float, Floats]:
        margin = y * (x @ beta[:k] + beta[k])
        slope = -weight * y * np.exp(-np.logaddexp(0.0, margin))
        value = float(weight @ np.logaddexp(0.0, -margin) + penalty / 2 * beta[:k] @ beta[:k])
        return value / n, np.append(x.T @ slope + penalty * beta[:k], slope.sum()) / n

    found: Any = minimize(loss, np.zeros(k + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-7})
    return np.asarray(found.x, dtype=np.float64)


def log_human(x: Any, beta: Floats) -> Floats:
    """log P(human) of every row: -log(1 + e^z), exact also where P(synthetic) rounds to 1."""
    return -np.logaddexp(0.0, x @ beta[:-1] + beta[-1])


def folds_of(documents: Sequence[Document], *, folds: int, seed: int) -> list[int]:
    """The fold of every document. Documents of one block, and documents of equal text, are in one fold, and so is
    what such links join: a detector of the other folds has seen neither the document nor its like."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    keys = [(f"block {d.origin or d.id}", f"text {sha256_text(d.text)}") for d in documents]
    for block, text in keys:
        one, other = sorted((root(block), root(text)))
        parent[other] = one  # the smallest name stands for all, so the order of documents does not matter
    return [derived_seed("detector_folds", seed, root(block)) % folds for block, _ in keys]


def cross_fitted(
    documents: Sequence[Document],
    past: Sequence[Document],
    *,
    folds: int,
    ngram: int,
    size: int,
    penalty: float,
    seed: int,
) -> list[float] | None:
    """log P(human) of every document by the detector of the folds that it is not in, trained on the past.

    None where some detector would see one class alone.
    """
    where = folds_of([*documents, *past], folds=folds, seed=seed)
    here, there = np.array(where[: len(documents)]), np.array(where[len(documents) :])
    synthetic = np.array([document.source == "synthetic" for document in past])
    settings: Mapping[str, int] = {"ngram": ngram, "size": size}
    x = features([document.text for document in past], **settings)
    asked = features([document.text for document in documents], **settings)
    found = np.zeros(len(documents))
    for fold in sorted(set(here.tolist())):
        others = there != fold
        if not synthetic[others].any() or synthetic[others].all():
            return None
        mine = here == fold
        found[mine] = log_human(asked[mine], fit(x[others], synthetic[others], penalty=penalty))
    return [float(value) for value in found]
