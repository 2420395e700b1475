"""The process model: `serve` starts gunicorn, its workers answer, and the admin port reports on them."""
