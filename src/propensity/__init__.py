"""Who will buy which offer in the next days, and what reaching them is worth.

An event log and a list of offers go in, a table of scores comes out; docs/architecture.md draws the line between them.
"""

__version__ = "0.1.0"
