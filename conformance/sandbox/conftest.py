"""The stage, once for each user."""

import pathlib
import shutil
import tempfile

import pytest

from stage import Stage, users


@pytest.fixture(scope="session", params=list(users()))
def stage(request):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="keycard-sandbox-"))
    stage = Stage(directory, users()[request.param])
    try:
        yield stage
    finally:
        stage.stop()
        shutil.rmtree(directory)
