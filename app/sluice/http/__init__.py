"""The HTTP edge: the only code that knows Flask and gunicorn. It reads requests, asks the pipeline or the store, and answers."""
