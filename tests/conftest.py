"""What every test can rely on: assertions of shared contracts and services explain themselves."""

import pytest

pytest.register_assert_rewrite("tests.contracts", "tests.services")
