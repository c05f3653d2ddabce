"""The reproduction pack: our algorithms against numbers that others published or that exact computation gives."""
