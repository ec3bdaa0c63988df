"""Bars and spark lines of characters, for tables in a terminal; of ASCII where it knows no more."""

from collections.abc import Mapping, Sequence

EIGHTHS = " ▏▎▍▌▋▊▉█"
"""Blocks by their width in eighths of a character (Unicode, Block Elements)."""
HEIGHTS = " ▁▂▃▄▅▆▇█"
ASCII_HEIGHTS = " .:-=+*#@"


def draw_bar(amount: int, largest: int, width: int, *, is_ascii: bool = False) -> str:
    """A bar whose length is to `width` characters as the amount to the largest; of any amount something is seen."""
    if amount <= 0 or largest <= 0:
        return ""
    eighths = max(1, round(8 * width * amount / largest))
    if is_ascii:
        return "#" * max(1, eighths // 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def draw_spark(amounts: Sequence[int], *, is_ascii: bool = False) -> str:
    """A character for each amount, as high as it is to the largest; blank is none, and any amount is seen."""
    heights = ASCII_HEIGHTS if is_ascii else HEIGHTS
    top = max(amounts, default=0)
    return "".join(heights[max(1, round(8 * amount / top))] if amount > 0 else heights[0] for amount in amounts)


def spread_days(by_day: Mapping[int, int], days: int, width: int) -> list[int]:
    """The amounts of a period's days, by their number, added up over at most `width` stretches of days."""
    parts = min(days, width)
    amounts = [0] * parts
    for day, amount in by_day.items():
        amounts[day * parts // days] += amount
    return amounts
