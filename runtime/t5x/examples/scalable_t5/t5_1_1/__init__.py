"""Sizes of T5 1.1, with scanned layers."""
