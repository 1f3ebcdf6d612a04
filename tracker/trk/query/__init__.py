"""Questions: the filter grammar, and what is computed from the records that a source gives."""
