"""The operator of Sluice: API keys that rotate without one rejected request, and probes that are proven.

From "an ApiKey was edited" to "the Secret was written" it reads in one direction: `watch` feeds `cache` and `queue`; `reconcile`
takes a KeySet, has `observe` look at it, asks `plan` what to do (`versions`, `entries`, `schedule`, `steps`, `status`) and has
`execute` do it through `client`. What is planned is pure: it does no I/O.
"""
