"""What is said of a mixture as a whole, in the terminal and on a page alike."""

from collections.abc import Iterator, Mapping
from typing import Any

from summary import Summary

# Draws that are this unlikely under the rates do not match them.
_LEAST_P = 0.01


def facts(summary: Summary, empirical: Mapping[str, Any] | None) -> Iterator[str]:
    """Sentences on its size, on what is known of its rows, and on how far training goes."""
    whole, drawing, training = summary.whole, summary.drawing, summary.training
    yield f"{len(whole.leaves):,} tasks of {whole.num_datasets:,} datasets."
    missing = summary.mixture.resolved.missing
    if missing:
        yield f"{len(missing):,} datasets are left out, as their rows are not at hand."
    kinds = ", ".join(f"{kind} {share:.1%}" for kind, share in drawing.kinds.items())
    yield f"Rows are at hand for {drawing.known:.1%} of the mixture" + (
        f" (from {kinds})." if kinds else ": nothing is known of tokens."
    )
    if drawing.trouble:
        yield f"Nothing is known of their tokens: {' '.join(drawing.trouble.split())}"
    lengthy = summary.lengthy
    if lengthy:
        yield (
            f"Of these {lengthy.drawn:,} examples were drawn: {lengthy.inputs:,.0f} + "
            f"{lengthy.targets:,.0f} tokens each, {lengthy.dropped:.2%} dropped as too long or "
            f"incomplete; none is cut. Packed into rows of {drawing.lengths.inputs:,} + "
            f"{drawing.lengths.targets:,} they fill {lengthy.density['inputs']:.1%} and "
            f"{lengthy.density['targets']:.1%}."
        )
    yield f"{training.steps:,} steps of {training.batch:,} rows" + (
        f", {summary.examples_per_row:.1f} examples each, are {summary.num_seen:,.0f} examples."
        if summary.num_seen
        else ": how many examples fit a row is not known, nor how many epochs that makes "
        "(--examples_per_row)."
    )
    if empirical:
        verdict = "match the rates" if empirical["p"] >= _LEAST_P else "DO NOT MATCH the rates"
        yield (
            f"{empirical['draws']:,} draws {verdict}: chi-squared {empirical['statistic']:.1f}, "
            f"{empirical['dof']:,} degrees of freedom, p = {empirical['p']:.3g} (a stream is "
            "spread more evenly than chance, so p is near 1)."
        )
