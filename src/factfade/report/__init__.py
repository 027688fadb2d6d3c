"""The report of an experiment, made from its folder alone: a page (`page.py`) and a terminal's table (`terminal.py`).

    store  --collect-->  Material  --summarise-->  PageData  --render-->  report.html
                                                             --table--->  terminal

`measures.py` turns stored rows into numbers with their n and interval, `changes.py` finds the questions whose answer
changed, `record.py` tells what was run, `figures.py` draws (with `strokes.py` and `svg.py`). Equal stored rows give
equal bytes: nothing here reads a clock, a locale or the network.
"""
