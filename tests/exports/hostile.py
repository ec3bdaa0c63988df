"""Text that would act somewhere, and CSV as RFC 4180 reads it."""

import csv
import io

HOSTILE = [
    "=HYPERLINK(\"http://evil.example\",\"550\")",
    "  +1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+9)",
    "\t=1+1",
    "\r=1+1",
    "\u00a0=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "\uff1d1+1",
    "x;=1+1",
    "x\n=1+1",
    "{=1+1}",
    "550 <script>alert(1)</script>",
    "550 \x1b]0;owned\x07\x1b[31m",
    "550 \u202eevil",
    "550 \x00 nul",
    "_x0041_",
    "550 \ufffe\uffff",
    "  \r",
    "https://evil.example",
    "4e10",
    "0012",
]  # fmt: skip


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
