"""What the tests of the daemon's room share."""

import pytest
from click.testing import CliRunner


@pytest.fixture
def runner() -> CliRunner:
    """Calls commands as a shell would."""
    return CliRunner()
