"""The command `trk`: it parses, calls the library, and shows what came of it."""
