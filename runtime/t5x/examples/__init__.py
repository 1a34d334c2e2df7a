"""Model families that ship with the engine."""
