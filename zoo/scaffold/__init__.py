"""The beginning of a plugin: `zoo models new` writes a package that works at once.

`package` writes it from `templates`; `examples/zoo-plugin-tiny` is what it writes for `tiny`.
"""
