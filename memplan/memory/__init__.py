"""The memory model's parts: what was measured, what each thing costs, and where it came from."""
