"""The loop against the theory of recursive training: `python -m benchmarks.theory [--chains N]`.

Categorical and Gaussian models take the transformer's place in the loop's own code (`factfade.theory`). Printed is
every closed form with what was measured: the mean over chains with its 95% interval, and the distance in standard
errors. Ends with exit status 1 when one is more than 4.5 of them away.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from factfade.theory import Categorical, Gaussian, Reading, Setting, readings, simulate

LIMIT = 4.5


def settings(chains: int) -> dict[str, Setting]:
    """The recursions by what they show."""
    numbers = Setting(family=Gaussian(), n=20, generations=10, chains=chains)
    many = tuple(range(16))

    def changed(**fields: object) -> Setting:
        return Setting(**{**vars(numbers), **fields})  # type: ignore[arg-type]

    even = Categorical(shares=(0.1,) * 10)
    rare = Categorical(shares=(0.6, 0.3, 0.08, 0.02))
    few = max(chains // 16, 16)
    return {
        "Replace, no human text: variance falls by 1/n, the mean drifts by 1/n": numbers,
        "Replace, a quarter human text: both stop": changed(human=5),
        "Accumulate: bounded": changed(workflow="accumulate"),
        "Accumulate_subsample: between": changed(workflow="accumulate_subsample", chains=few, seeds=many),
        "Symbols, replace: entropy falls by (K - 1) / (2 n)": changed(family=even, n=400, chains=max(chains // 8, 16)),
        "A rare symbol (expected once), replace": changed(family=rare, n=50),
        "A rare symbol (expected once), a fifth human text": changed(family=rare, n=50, human=10),
    }


def line(reading: Reading) -> str:
    """One row of the table."""
    wanted = f"at least {reading.expected:.5f}" if reading.bound else f"{reading.expected:.5f}"
    return (
        f"| {reading.generation} | {reading.quantity} | {reading.measured:.5f} ± {reading.margin:.5f} | {wanted} | "
        f"{reading.deviation:+.1f} | {reading.form} |"
    )


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=2048, help="independent recursions of a setting")
    parser.add_argument("--every", type=int, default=1, help="print every so many generations, and the last")
    arguments = parser.parse_args()
    far = 0
    for title, setting in settings(arguments.chains).items():
        with tempfile.TemporaryDirectory() as folder:
            found = readings(simulate(setting, Path(folder)))
        runs = f", {len(setting.seeds)} runs" if len(setting.seeds) > 1 else ""
        print(f"\n### {title}\n\nn = {setting.n} documents a generation, {setting.human} of them human; "
              f"{setting.chains} chains{runs}\n")  # fmt: skip
        print("| g | quantity | measured, 95% | theory | standard errors off | form |\n|---|---|---|---|---|---|")
        for reading in sorted(found, key=lambda one: (one.exact, one.quantity, one.bound, one.generation)):
            shown = reading.generation % arguments.every == 0 or reading.generation == setting.generations
            if shown and not reading.exact:
                print(line(reading))
        exact = [reading for reading in found if reading.exact]
        wrong = [reading for reading in exact if reading.deviation]
        print(f"\nCounts of documents: {len(exact) - len(wrong)} of {len(exact)} as the workflow says.")
        far += len(wrong) + sum(abs(reading.deviation) > LIMIT for reading in found if not reading.exact)
    print(f"\n{far} readings disagree with theory.")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
