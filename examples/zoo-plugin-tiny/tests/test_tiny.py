"""The model keeps what every model of film-zoo promises: one test for each promise."""

from zoo.testing import conformance
from zoo_plugin_tiny import Tiny

test_conformance = conformance(Tiny)
