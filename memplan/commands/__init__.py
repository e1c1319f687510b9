"""The command line: one file a subcommand; parse, call the library, hand the result to a report."""
