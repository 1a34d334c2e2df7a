"""Pipeline tests run real seqio pipelines on the embedded samples."""

import os

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["FLAN_VOCABULARY"] = "small"

import gin

import flan_tasks


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The folder of the prepared samples."""
    return str(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module", autouse=True)
def samples_in_use(store):
    """Registers everything, and lets the embedded samples stand for all data."""
    flan_tasks.register()
    with gin.unlock_config():
        gin.bind_parameter("flan_tasks.sources.settings.use", ("samples",))
        gin.bind_parameter("flan_tasks.sources.settings.store_dir", store)
    yield
    gin.clear_config()
