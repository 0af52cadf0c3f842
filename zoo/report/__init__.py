"""The report: records in, files out. It computes nothing that a record does not hold.

`zoo.report.write.write_report` writes a results folder; `zoo.report.terminal.summary` is the short
form for the end of a command. `standings` gathers records by model and `ranking` says which
differences count; every table, every kind of sentence and every picture has a file of its own, and
`film_page` and `page` put them in order. Nothing here needs torch or a video library, so a report
can be made again anywhere.
"""

import logging

# Of a home that cannot be written, Matplotlib tells in five lines, and does without.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
