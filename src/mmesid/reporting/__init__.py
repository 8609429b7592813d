"""Reporting: what the pipeline measured, as tables, figures and one self-contained HTML page."""
