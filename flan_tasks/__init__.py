"""The Flan Collection as seqio tasks and mixtures.

Importing this package registers every task and the published mixtures with seqio; it reads the
dataset cards, and no data. Registering needs seqio, and with it TensorFlow, which takes seconds to
import: a program that only reads cards sets FLAN_TASKS_REGISTER=0 first.
"""

import functools
import os


@functools.cache
def register() -> None:
    """Registers all tasks, published mixtures and evaluation suites with seqio, once."""
    from flan_tasks import catalog, mixtures, tasks
    from flan_tasks.evaluation import tasks as evaluation_tasks

    tasks.register(catalog.load().values())
    mixtures.register_published()
    evaluation_tasks.register()


if os.environ.get("FLAN_TASKS_REGISTER", "1") != "0":
    register()
