"""Intervals, paired comparisons, agreement and power: numpy and scipy only, no table and no model.

`docs/statistics.md` says which method answers which question, and why.
"""
