"""What all subcommands are told alike: settings of sources and vocabulary."""

import argparse

import gin

from flan_tasks import configs, sources


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where rows are looked for."""
    add = parser.add_argument
    add("--use", nargs="+", choices=sources.KINDS, help="kinds of source, first choice first")
    add("--gin_file", action="append", default=[], help="gin with settings; repeatable")


def configure(options: argparse.Namespace, *gin_files: str) -> None:
    """Puts the settings in force, and those of some more gin files; nothing else stays set."""
    gin.clear_config()
    for folder in configs.search_paths():
        gin.add_config_file_search_path(folder)
    for path in [*options.gin_file, *gin_files]:
        gin.parse_config_file(path, skip_unknown=True)
    if options.use:
        gin.bind_parameter("flan_tasks.sources.settings.use", tuple(options.use))
