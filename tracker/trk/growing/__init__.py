"""Files that grow: seen as they do, and taken line by line into a run, none of them twice."""
