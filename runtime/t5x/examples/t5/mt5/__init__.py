"""Gin files; a package so that they are found wherever the engine is installed."""
