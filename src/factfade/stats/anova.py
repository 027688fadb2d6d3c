"""Format by generation: the published two-way analysis of variance, and a test of the interaction that holds its level.

The published F takes the accuracies of a format x generation table as independent. They are not: every cell asks the
same items of checkpoints that descend from one another. `two_way` is here for comparison with printed values only.
`interaction` asks the same question, do formats fall at different rates, with the item cluster as the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factfade.stats.intervals import Floats, codes_of

SumsOfSquares = Literal[1, 2, 3]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One line of the table. `f` and `p` are None for the residual, and where the residual carries no test."""

    source: str
    df: int
    sum_squares: float
    f: float | None = None
    p: float | None = None


@dataclass(frozen=True, kw_only=True)
class TwoWay:
    """Two-way analysis of variance of `n` values; `squares` says which type of sums of squares.

    Effects are "first", "second", "interaction" (only with replication) and "residual".
    """

    effects: tuple[Effect, ...]
    squares: SumsOfSquares
    n: int
    replicated: bool

    def effect(self, source: str) -> Effect | None:
        """The line of that source; None where the table has none."""
        return next((e for e in self.effects if e.source == source), None)


def _sum_coded(codes: NDArray[np.intp], count: int) -> Floats:
    columns = np.zeros((len(codes), count - 1))
    for level in range(count - 1):
        columns[:, level] = (codes == level).astype(np.float64) - (codes == count - 1)
    return columns


def _residual(y: Floats, *blocks: Floats) -> tuple[float, int]:
    """Residual sum of squares and rank of a least-squares fit."""
    design = np.concatenate([np.ones((len(y), 1)), *blocks], axis=1)
    fitted, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    rest = y - design @ fitted
    return float(rest @ rest), int(rank)


def two_way(values: ArrayLike, first: ArrayLike, second: ArrayLike, *, squares: SumsOfSquares = 2) -> TwoWay | None:
    """Analysis of variance of `values` over two crossed factors given as labels, one per value; NaN is left out.

    With one value a cell there is no replication: the model is additive, and what an interaction would explain is the
    residual. With replication (seeds) the interaction is a line of its own. Types as in SAS and in statsmodels'
    `anova_lm` with sum-to-zero coding: 1 sequential, first factor first; 2 each after the others of its order; 3 each
    after all. They agree where every cell has equally many values. None where a factor has one level or a cell is
    empty: the table has no answer then. p values take the values as independent normal with one variance; on the same
    items over generations they are not.
    """
    y = np.asarray(values, dtype=np.float64)
    there = ~np.isnan(y)
    y = y[there]
    a, rows = codes_of(np.asarray(first)[there], len(y))
    b, columns = codes_of(np.asarray(second)[there], len(y))
    cells = np.bincount(a * max(columns, 1) + b, minlength=rows * columns)
    if rows < 2 or columns < 2 or not cells.all():
        return None
    replicated = bool(cells.max() > 1)
    blocks = {"first": _sum_coded(a, rows), "second": _sum_coded(b, columns)}
    if replicated:
        products = blocks["first"][:, :, None] * blocks["second"][:, None, :]
        blocks["interaction"] = products.reshape(len(y), -1)
    names = list(blocks)
    rest, rank = _residual(y, *blocks.values())
    df = len(y) - rank
    lines: list[Effect] = []
    for at, name in enumerate(names):
        if squares == 1:
            larger, smaller = names[: at + 1], names[:at]
        elif squares == 2 and name != "interaction":
            larger, smaller = ["first", "second"], [n for n in ("first", "second") if n != name]
        else:
            larger, smaller = names, [n for n in names if n != name]
        explained = _residual(y, *(blocks[n] for n in smaller))[0] - _residual(y, *(blocks[n] for n in larger))[0]
        lines.append(_effect(name, blocks[name].shape[1], max(explained, 0.0), rest, df, float(y @ y)))
    lines.append(Effect(source="residual", df=df, sum_squares=rest))
    return TwoWay(effects=tuple(lines), squares=squares, n=len(y), replicated=replicated)


def _effect(source: str, df: int, squares: float, rest: float, rest_df: int, scale: float) -> Effect:
    # A residual that is rounding error carries no test.
    if rest_df < 1 or rest <= 1e-22 * scale or rest == 0.0:
        return Effect(source=source, df=df, sum_squares=squares)
    from scipy.special import fdtrc

    f = (squares / df) / (rest / rest_df)
    return Effect(source=source, df=df, sum_squares=squares, f=f, p=float(fdtrc(df, rest_df, f)))


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Whether slopes differ between formats: `slopes` per format, in the order given, and the permutation p.

    `spread` is the largest slope less the smallest. `units` clusters hold every format and enter; `left_out` do not.
    p is None where there are fewer than two formats or two units; `reason` says so.
    """

    slopes: tuple[float | None, ...]
    spread: float | None
    statistic: float | None
    p: float | None
    units: int
    left_out: int
    permutations: int
    reason: str = ""
    method: str = "permutation of format labels within clusters"


def cluster_parts(numerators: ArrayLike, weights: ArrayLike, clusters: ArrayLike | None) -> tuple[Floats, Floats]:
    """Sums over the rows of a cluster of the (rows, formats) slope parts: what `interaction` permutes."""
    n, w = np.asarray(numerators, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    codes, count = codes_of(clusters, len(n))
    sums = [np.zeros((count, n.shape[1])), np.zeros((count, n.shape[1]))]
    for total, part in zip(sums, (n, w), strict=True):
        np.add.at(total, codes, part)
    return sums[0], sums[1]


def interaction(numerators: ArrayLike, weights: ArrayLike, *, permutations: int = 1999, seed: int = 0) -> Interaction:
    """Permutation test of equal slopes, from the slope parts (see `ratios.slope_parts`) of clusters by formats.

    The labels of the formats are permuted within each cluster, whole clusters at a time (a restricted permutation:
    what items share stays together, and levels of accuracy drop out because slopes are permuted, not answers).
    Statistic: d' M^+ d, d the summed deviations of the formats from the pooled slope in orthonormal contrasts, M their
    uncentred second moment over clusters, so that formats that vary more, or go together, do not raise the level
    (studentised, after Janssen 1997 and Friedrich, Brunner and Pauly 2017). p = (1 + hits) / (1 + permutations).
    Clusters and formats are put in the order of their values first: names and order change nothing.
    """
    n, w = np.asarray(numerators, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if n.ndim != 2 or n.shape != w.shape:
        raise ValueError(f"slope parts are two equal (clusters, formats) arrays, not {n.shape} and {w.shape}")
    whole = (w > 0).all(axis=1) if w.shape[1] else np.zeros(len(w), dtype=bool)
    left_out = int(np.sum((w > 0).any(axis=1) & ~whole)) if w.shape[1] else 0
    n, w = n[whole], w[whole]
    units, formats = n.shape
    slopes = tuple(float(a / b) if b > 0 else None for a, b in zip(n.sum(axis=0), w.sum(axis=0), strict=True))
    known = [s for s in slopes if s is not None]
    common: dict[str, Any] = {"slopes": slopes, "units": units, "left_out": left_out}
    if formats < 2 or units < 2:
        reason = "fewer than two formats" if formats < 2 else "fewer than two clusters that hold every format"
        return Interaction(spread=None, statistic=None, p=None, permutations=0, reason=reason, **common)
    spread = max(known) - min(known)
    deviations = n - w * (n.sum() / w.sum())
    scale = float(np.abs(n).max())
    if scale == 0.0 or float(np.abs(deviations).max()) <= 1e-12 * scale:
        # Every label arrangement is the same arrangement.
        return Interaction(spread=spread, statistic=0.0, p=1.0, permutations=permutations, **common)
    deviations = _canonical(deviations / scale)
    contrasts = _contrasts(formats)
    observed = float(_statistic(deviations[None], contrasts)[0])
    random = np.random.default_rng(seed)
    hits = 0
    chunk = max(1, 2_000_000 // (units * formats))
    for start in range(0, permutations, chunk):
        size = min(chunk, permutations - start)
        order = np.argsort(random.random((size, units, formats)), axis=2)
        permuted = np.take_along_axis(np.broadcast_to(deviations, order.shape), order, axis=2)
        hits += int(np.sum(_statistic(permuted, contrasts) >= observed * (1 - 1e-9)))
    p = (1 + hits) / (1 + permutations)
    return Interaction(spread=spread, statistic=observed, p=p, permutations=permutations, **common)


def _canonical(deviations: Floats) -> Floats:
    """Rows and columns in an order that hangs on the values alone; rounded, so that sums in another order are equal."""
    rounded = np.round(deviations, 9) + 0.0
    columns = np.sort(rounded, axis=0)
    rounded = rounded[:, np.lexsort(np.concatenate([columns, np.round(rounded.sum(axis=0), 6)[None]]))]
    return rounded[np.lexsort(rounded.T)]


def _contrasts(formats: int) -> Floats:
    """Orthonormal contrasts (formats - 1, formats), Helmert's."""
    rows = np.zeros((formats - 1, formats))
    for at in range(formats - 1):
        rows[at, : at + 1] = 1.0
        rows[at, at + 1] = -(at + 1.0)
        rows[at] /= np.sqrt((at + 1.0) * (at + 2.0))
    return rows


def _statistic(deviations: Floats, contrasts: Floats) -> Floats:
    """d' M^+ d of (permutations, clusters, formats) deviations."""
    u = deviations @ contrasts.T
    d = u.sum(axis=1)
    if len(contrasts) == 1:
        moment = (u[:, :, 0] ** 2).sum(axis=1)
        return np.where(moment > 0, d[:, 0] ** 2 / np.where(moment > 0, moment, 1.0), 0.0)
    inverse = np.linalg.pinv(np.swapaxes(u, 1, 2) @ u, rcond=1e-9, hermitian=True)
    return np.einsum("pi,pij,pj->p", d, inverse, d)
