"""Traffic rules of a node, as its user plane decides: a packet to try, and rules that are in each other's way."""
