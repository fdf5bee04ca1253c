"""A benchmark of forward gradients against backpropagation."""
