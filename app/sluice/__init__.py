"""Sluice: events and error logs over HTTP, each stored exactly once. Importing this package does nothing else."""

__version__ = "0.1.0"
