"""The conformance suite: checks of plugins' contributions, one function per promise.

`zoo models check NAME` and `zoo plugins check NAME` run it. The project's own tests run it on
everything that is registered, and other packages run it in their tests by `zoo.testing`. `suite`
lists and runs the checks, and applies waivers.
"""
