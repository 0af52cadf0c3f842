"""The conformance suite: what every model promises, checked on the model itself.

`zoo models check NAME` runs it; so do the project's own tests, on every model that is
registered. `checks` holds one function a promise, `suite` runs them.
"""
