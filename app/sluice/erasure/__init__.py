"""Erasure: all events of one user go, error groups forget the user, and a record stays of who asked and how many went."""
