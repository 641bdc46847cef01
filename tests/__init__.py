"""The tests: one file per room of the package, and the project's own rules."""
