"""A mixture by its name, or by the gin file that makes it."""

import argparse
import dataclasses

import arguments

from flan_tasks import contamination, recipes, stream_spec
from flan_tasks.contamination import DropList
from flan_tasks.errors import MixtureError
from flan_tasks.published import PUBLISHED
from flan_tasks.recipes import Recipe, Resolved


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture and its tasks; what its recipe is, unless it was made from a manifest."""

    name: str
    recipe: Recipe | None
    resolved: Resolved
    drop_list: DropList = contamination.NOTHING


def add_on_missing(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that overrules what a recipe says of missing rows."""
    parser.add_argument(
        "--on_missing",
        choices=recipes.ON_MISSING,
        help="skip: leave out datasets whose rows are not at hand, whatever the recipe says",
    )


def named(name: str | None, options: argparse.Namespace) -> Mixture:
    """The mixture; settings are then in force as options and gin file say.

    Args:
      name: of a published mixture, or a gin file that sets MIXTURE_OR_TASK_NAME; None: one of
        `options.gin_file` sets it.
      options: what `arguments.add_settings` and `add_on_missing` made.

    Raises:
      FlanError: there is none of that name, or it cannot be made.
      OSError: a file cannot be read.
    """
    is_file = name is not None and name.endswith(".gin")
    arguments.configure(options, *([name] if is_file else []))
    registered = name if name in PUBLISHED else stream_spec.name_in_gin()
    if not is_file:
        registered = name or registered
    if registered is None:
        raise MixtureError(
            "no mixture is named" if name is None else f"{name} sets no MIXTURE_OR_TASK_NAME",
            where="arguments",
            remedy=f"Name one of {', '.join(PUBLISHED)}, or a gin file that sets it.",
        )
    return _of_name(registered, options.on_missing)


def _of_name(name: str, on_missing: str | None) -> Mixture:
    if name in PUBLISHED:
        mixture = Mixture(name, recipe := PUBLISHED[name], recipes.resolve(recipe))
    else:
        mixture = _registered(name)
    if on_missing is None:
        return mixture
    if mixture.recipe is None:
        raise MixtureError(
            "is made from no recipe that could leave out what is missing",
            where=f"mixture {name}",
            remedy="Drop --on_missing.",
        )
    recipe = dataclasses.replace(mixture.recipe, on_missing=on_missing)
    return dataclasses.replace(mixture, recipe=recipe, resolved=recipes.resolve(recipe))


def _registered(name: str) -> Mixture:
    from flan_tasks import mixtures  # seqio's: only for what is not published

    found = mixtures.find(name)
    if not isinstance(found, mixtures.PromptMixture):
        raise MixtureError(
            f"{name!r} is no mixture",
            where="arguments",
            remedy="Name a mixture; `inspect dataset` shows single tasks.",
        )
    recipe = getattr(found, "recipe", None)
    known = recipe if isinstance(recipe, Recipe) else None
    return Mixture(name, known, found.resolved, found.drop_list)
