"""The dashboards, made by grafana-foundation-sdk; `python -m tools.dashboards` writes them and the tables of their panels."""
