"""Record-batch transport for Faust: one message per (partition, poll).

Faust spends about 100 µs to move one record from the fetcher to an agent, and several times that
with a table behind it. Here all that one poll found in a partition travels as a single message, so
that this price is paid once per batch.
"""
