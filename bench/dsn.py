"""Delivery reports, mails a second: python bench/dsn.py [--form mbox|maildir|eml] [--mails 50000] [--runs 5]

Writes reports such as senders get (RFC 3464, Exim's and qmail's prose, complaints, automatic answers; about 4 kB each)
as one mbox or a file each, then times how they land: looking into the inbox, reading, judging and writing Parquet.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import figures

from flows.landing import Load, find_arrivals, land_files
from flows.settings import Settings

HEADER = """From MAILER-DAEMON Mon Mar  2 10:{minute:02}:{second:02} 2026
Return-Path: <>
Delivered-To: bounce+{number}@news.example.com
Received: from mx{host}.example.net (mx{host}.example.net [192.0.2.{host}])
\tby in.news.example.com (Postfix) with ESMTPS id 4fB{number:x}
\tfor <bounce+{number}@news.example.com>; Mon,  2 Mar 2026 10:{minute:02}:{second:02} +0000 (UTC)
Date: Mon,  2 Mar 2026 10:{minute:02}:{second:02} +0000
From: Mail Delivery System <MAILER-DAEMON@mx{host}.example.net>
To: bounce+{number}@news.example.com
Message-Id: <report.{number}@mx{host}.example.net>
Auto-Submitted: auto-replied
"""
ORIGINAL_HEADER = """Return-Path: <bounce+{number}@news.example.com>
Received: from out.news.example.com (out.news.example.com [203.0.113.7])
\tby mx{host}.example.net with ESMTPS id 7Kz{number:x}; Mon,  2 Mar 2026 09:59:01 +0000
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=news.example.com; s=k1;
\tbh=q8Lz1fYk0r3m9uXnT2bVc4wEs6hGj7pD5aQiOxRtUlM=; b=Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4
Date: Mon, 2 Mar 2026 09:58:59 +0000
From: "The Shop" <shop@brand{brand}.example>
To: user{number}@example.org
Subject: =?utf-8?q?Offers_for_you_=E2=80=93_number_{number}?=
Message-ID: <m{number}@news.example.com>
Feedback-ID: spring{brand}:acme:bulk:sender
List-Unsubscribe: <https://news.example.com/u/{number}>
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8
"""
BODY = "<p>Some words about an offer that nobody could read, in a line of usual length.</p>\n" * 20
REPORT = """Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="B{number:x}.1772445600/mx{host}.example.net"

This is a MIME-encapsulated message.

--B{number:x}.1772445600/mx{host}.example.net
Content-Type: text/plain; charset=us-ascii

The mail system of mx{host}.example.net could not deliver this message:

<user{number}@example.org>: host mx.example.org[198.51.100.{host}] said: 550 5.1.1
    <user{number}@example.org>: no such user here (in reply to RCPT TO command)

--B{number:x}.1772445600/mx{host}.example.net
Content-Type: message/delivery-status

Reporting-MTA: dns; mx{host}.example.net
Arrival-Date: Mon,  2 Mar 2026 09:59:01 +0000 (UTC)

Final-Recipient: rfc822; user{number}@example.org
Original-Recipient: rfc822;user{number}@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; 550 5.1.1 <user{number}@example.org>: no such user
    here

--B{number:x}.1772445600/mx{host}.example.net
Content-Type: message/rfc822

{original}
{body}
--B{number:x}.1772445600/mx{host}.example.net--

"""
EXIM = """X-Failed-Recipients: user{number}@example.org
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

The following address(es) failed:

  user{number}@example.org
    host mx.example.org [198.51.100.{host}]
    SMTP error from remote mail server after RCPT TO:<user{number}@example.org>:
    550 5.1.1 <user{number}@example.org>: no such user here

------ This is a copy of the message, including all the headers. ------

{original}
{body}
"""
QMAIL = """Subject: failure notice

Hi. This is the qmail-send program at mx{host}.example.net.

<user{number}@example.org>:
198.51.100.{host} does not like recipient.
Remote host said: 550 5.1.1 no such user here
Giving up on 198.51.100.{host}.

--- Below this line is a copy of the message.

{original}
{body}
"""
COMPLAINT = """Subject: a complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="C{number:x}"

--C{number:x}
Content-Type: text/plain

A complaint about a message of yours.

--C{number:x}
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Loop/1.0
Version: 1
Original-Rcpt-To: user{number}@example.org
Arrival-Date: Mon, 2 Mar 2026 09:59:01 +0000

--C{number:x}
Content-Type: message/rfc822

{original}
{body}
--C{number:x}--

"""
ANSWER = """Subject: Out of office: Offers for you

I am away until Monday.

"""
KINDS = [REPORT] * 14 + [EXIM] * 2 + [QMAIL, COMPLAINT, COMPLAINT, ANSWER]


def write_mails(folder: Path, mails: int, form: str) -> None:
    """So many mails as one mbox, as a Maildir, or as a file each in folders of a thousand."""
    folder.mkdir(parents=True)
    if form == "maildir":
        for name in ("cur", "new", "tmp"):
            (folder / "Maildir" / name).mkdir(parents=True)
    mailbox = []
    for number in range(mails):
        values = {
            "number": number, "host": number % 200 + 1, "brand": number % 7,
            "minute": number // 60 % 60, "second": number % 60,
        }  # fmt: skip
        original = ORIGINAL_HEADER.format(**values)
        header = HEADER.format(**values)
        text = KINDS[number % len(KINDS)].format(**values, original=original, body=BODY)
        if form == "mbox":
            mailbox.append(header + text)
            continue
        path = folder / "Maildir" / "new" / f"17724456{number:05}.M{number}P811.mx1,S={len(text)}"
        if form == "eml":
            path = folder / f"{number // 1000}" / f"{number}.eml"
            path.parent.mkdir(exist_ok=True)
        path.write_text(header.partition("\n")[2] + text, encoding="utf-8")
    if mailbox:
        (folder / "bounces.mbox").write_text("".join(mailbox), encoding="utf-8")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mails", type=int, default=50_000)
    options.add_argument("--form", choices=["mbox", "maildir", "eml"], default="mbox")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    figures.add_option(options)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        inbox = Path(scratch) / "inbox"
        write_mails(inbox / "dsn", chosen.mails, chosen.form)
        rates = []
        for run in range(chosen.runs):
            settings = Settings(home=Path(scratch) / f"home{run}", inbox_directory=inbox, threads=chosen.threads)
            begun = time.perf_counter()
            loads = land_files(settings, find_arrivals(settings).files)
            seconds = time.perf_counter() - begun
            assert sum(load.records_landed for load in loads if isinstance(load, Load)) == chosen.mails
            rates.append(chosen.mails / seconds)
        print(f"{chosen.mails} mails as {chosen.form}, {len(loads)} files, {chosen.threads} processes")
        print(f"median {statistics.median(rates):.0f} mails a second  {[round(rate) for rate in rates]}")
    figures.keep(chosen.json, {"form": chosen.form, "mails": chosen.mails, "mails_per_second": rates})


if __name__ == "__main__":
    main()
