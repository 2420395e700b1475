"""The operator of Sluice: API keys that rotate without one rejected request, and probes that are proven.

Pure, and all that is here so far: what the cluster looks like (`world`), what is known of each version of a key (`ledger`),
what should be done next (`plan`), and how probes are judged (`lints`) and wired (`wiring`). Nothing here does I/O.
"""
