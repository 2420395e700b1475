"""What releases do to git: which image an environment runs is one line of its values, and these are the rules of that line.

`python -m tools.release bump | promote | rollback | unpin | verify | status`. The workflows call it and so can you: it needs git,
and cosign to verify. Nothing is written before signature and provenance of the image are verified.
"""
