"""Files that no test runs: mypy and pyright read them, and hold the public types to what they assert."""
