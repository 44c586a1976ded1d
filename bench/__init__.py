"""Measurements that a person runs: ``python -m bench [NAME...] [--rounds N] [--strict] [--out DIR]``.

One file a bench: a module of this package with a function ``run(rounds: int) -> result.Result`` is found
by itself and is named after the module. A bench that compares takes both sides in turn within one run, so
that a machine that is busy for a while is busy for both; the figure is the median, its spread the quartiles.
"""
