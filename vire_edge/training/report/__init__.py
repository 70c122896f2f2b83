"""Measured models → tables, plots and one page that holds them all, as HTML or Markdown.

    Evaluation → tables, plots → Document → HTML, Markdown, or a terminal's tables

Nothing here measures; it arranges what `comparison` found.
"""
