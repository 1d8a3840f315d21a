"""Hypothesis against the oracle: what it draws is carried out by the extension, and shrunk when the two differ.

The core alone, with the vectors' own runner; every other Python runs test_vectors.py and has no need of hypothesis.
"""
import pathlib
import sys

import pytest

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings, strategies  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vectors"))
import generate  # noqa: E402
from .test_vectors import run_case  # noqa: E402

MAKERS = [make for make, _ in generate.RANDOM if make is not generate.random_bound_case]  # its judge is a program of its own


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__[len("random_"):-len("_case")])
@settings(max_examples=200, deadline=None, database=None, print_blob=True,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(rng=strategies.randoms(use_true_random=False))
def test_drawn(make, rng):
    run_case(dict({"name": "drawn"}, **make(rng)))
