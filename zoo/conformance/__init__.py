"""The conformance suite: what every model promises, checked on the model itself.

`zoo models check NAME` runs it; so do the project's own tests, on every model that is
registered, and a stranger's tests through `zoo.testing`. `inference`, `training` and `importing`
hold one function a promise, `checks` lists them, `suite` runs them and knows of waivers.
"""
