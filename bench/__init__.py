"""Measurements: `python -m bench`. Nothing here is asserted; figures are reported with the machine they came from."""
