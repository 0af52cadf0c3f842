"""The report: records in, files out. It computes nothing that a record does not hold.

`write.write_report` writes a results folder. `aggregate` gathers records by model, `ranking` says
which differences count, `findings` states them in sentences; tables and plots have files of their
own. Nothing here needs torch or a video library, so a report can be made again anywhere.
"""

import logging

# Without a writable home directory, Matplotlib works but logs five lines.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
