"""When the reference is a run's own data."""

import types
from pathlib import Path

import audit_images
import pytest
from ml_collections import ConfigDict

from mollax.auditing.reference import is_run_data


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, True),
        ({"reference": "images"}, True),
        ({"reference": "./images"}, True),
        ({"reference": "others"}, False),
        ({"held_out": "validation"}, False),
        ({"split": "test"}, False),
    ],
)
def test_only_without_other_wishes(changes, expected, unhooked):
    config = ConfigDict({"data": {"path": str(Path("images").resolve())}})
    features = types.SimpleNamespace(run=types.SimpleNamespace(config=config))
    assert is_run_data(audit_images.settings(**changes), features) == expected
