"""The two lists as an administrator meets them: ask, check a mailing list, decide, import, export, recover.

What an administrator decides is written to `<home>/actions/` and nowhere else. Every command reads the published
database with the decisions that no run has taken in yet applied to it (`current`), so that they work at once.
"""
