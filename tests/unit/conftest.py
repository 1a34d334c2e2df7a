"""Unit tests read cards and do arithmetic; none needs TensorFlow."""

import os

os.environ["FLAN_TASKS_REGISTER"] = "0"
