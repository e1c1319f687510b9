"""The reasoning from a load, goals and evidence to a plan, one step a file."""
