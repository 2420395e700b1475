"""What takes minutes: `python -m tests.soak chaos` kills parts of a real service under load. The suite runs a short form."""
