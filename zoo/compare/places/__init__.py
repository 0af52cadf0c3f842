"""Where the work of a comparison is done: here, in processes beside this one, or on a cluster.

A place takes pieces of work and tells what becomes of them; it decides nothing about their order.
"""
