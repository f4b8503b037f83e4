"""Options of the jobs, as values and as command-line flags. Standard library alone: `--help` is instant."""
