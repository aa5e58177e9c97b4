"""PRO heads: labelled examples, the network, its training, and how it is judged."""
