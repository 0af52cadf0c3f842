"""What film-zoo needs from a machine, looked at one thing after another and told in lines.

`finding` is a line, `examine` asks every check in turn, `machine`, `video` and `outside` are the
checks. Nothing is fetched, nothing is mended, and nothing stays behind.
"""
