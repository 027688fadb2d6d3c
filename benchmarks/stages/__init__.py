"""How often the stage detector and the trend are right, on simulated runs with planted truths.

`python -m benchmarks.stages` prints the tables of results.md beside this file.
"""
