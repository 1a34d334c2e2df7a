"""What worker processes have in common."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Has this process end when its parent does, be that killed: it would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
