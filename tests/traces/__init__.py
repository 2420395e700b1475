"""Real stack traces of other runtimes: programs that fail, a script that runs them, and what it recorded."""
