"""A benchmark of forward gradients against backpropagation."""

__version__ = "0.1.0"
