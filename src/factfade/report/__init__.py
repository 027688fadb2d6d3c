"""The report of an experiment or an audit, of its folder alone: a page (`page.py`), a terminal's table (`terminal.py`).

    store  --collect-->  Material  --summarise-->  PageData  --render-->  report.html
                                                             --table--->  terminal

An audit's page leads with its answer: `checkpoints.py` sets every checkpoint beside the base, `turned.py` calls the
facts it lost and gained, `saying.py` puts it in sentences, `terminal_checkpoints.py` on a terminal.

`heading.py` says what stands above the arms, `measures.py` turns stored rows into numbers with their n and interval,
`changes.py` finds the questions whose answer changed, `record.py` tells what was run, `figures.py` draws (with
`strokes.py` and `svg.py`). Equal stored rows give equal bytes: nothing here reads a clock, a locale or the network.
"""
