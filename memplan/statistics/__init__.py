"""How many connections a worker gets, at one moment and over time: the parts of the model."""
