import pytest

pytest.register_assert_rewrite("tests.contract", "tests.integration.oracle", "tests.judge", "tests.world")
