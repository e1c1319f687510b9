"""The built-in slot strategies, one a file, and what laying them out for real takes."""
