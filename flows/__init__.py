"""bouncehouse: a warehouse for email bounces."""

__version__ = "0.1.0"
