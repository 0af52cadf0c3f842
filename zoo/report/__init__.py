"""The report: records in, files out. It computes nothing that a record does not hold.

`zoo.report.write.write_report` writes a results folder; `zoo.report.terminal.summary` is the short
form for the end of a command. Between them stand `standings` (who is how good), `tables` and
`findings` (the same numbers as rows and as sentences), and one file a kind of output. Nothing here
needs torch or a video library, so a report can be made again anywhere.
"""
