"""Pictures of runs: curves as SVG, PNG or a page of HTML, and the report. No terminal is known here.

What is pure stands low: `curves` (smoothing, thinning), `axes` (ticks), `svg`, `page`, `figures`. `gather`, `plotting`
and `reporting` ask the sources.
"""
