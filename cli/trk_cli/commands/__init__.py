"""The verbs: each parses, calls the library, and hands a result to `output.show`."""
