"""What a step costs: its time by interleaved blocks, its memory in a fresh process, its operations by counting."""
