"""Measure what film-zoo does on a GPU, by one command in a few minutes: `make gpu`.

`python -m benchmarks.gpu` supervises: it gives each stage its time, starts a worker process that
does the work, and kills it if it overruns. docs/gpu.md says how to run it and what it writes.
"""
