"""Where the gin files of this distribution lie."""

import pathlib

_PACKAGE = pathlib.Path(__file__).resolve().parent


def search_paths() -> list[str]:
    """Folders to search gin files in: for 'gin/mixtures/…' and for 'flan_xl.gin' alike.

    In a checkout they stand beside the package; an installed distribution keeps them in the
    package `flan_configs`.
    """
    checkout = _PACKAGE.parent
    root = checkout if (checkout / "t5x_configs").is_dir() else checkout / "flan_configs"
    return [str(root), str(root / "t5x_configs")]
