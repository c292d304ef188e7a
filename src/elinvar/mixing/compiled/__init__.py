"""The back end for CPUs: compiled loops that read both images once and write the mixture once; maps never exist."""
