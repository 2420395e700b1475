"""Writes every dashboard into the chart, which compose.yaml mounts too, and the table of their panels into docs/dashboards.md."""

from __future__ import annotations

from tools.dashboards import made

if __name__ == "__main__":
    made.write()
