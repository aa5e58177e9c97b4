"""Lower precision: half floats by modelopt, int8 in those layers that bear it, and what each costs.

The precision lies in the graph (Cast, QuantizeLinear, DequantizeLinear), as TensorRT's strongly
typed networks want it, so a bundle of each precision is a bundle like any other.
"""
