"""What talks to a running service: `sluice import`, `generate` and `check`."""
