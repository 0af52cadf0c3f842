"""The conformance suite: checks of what plugins bring, one function per promise.

`zoo models check NAME` and `zoo plugins check NAME` run it, as do the project's own tests on all
that is registered, and the tests of any other package through `zoo.testing`. `suite` lists and runs
the checks, and applies waivers.
"""
