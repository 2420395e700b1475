"""`make bench`: how fast, next to what, in one run on one machine. Nothing here is a test: timings are noisy, ratios less so."""
