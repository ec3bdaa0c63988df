"""Reports of failure in the shapes of the mailers that write them. Each gives one mail, lines ending with a newline."""

from textwrap import dedent

ORIGINAL = """\
Return-Path: <bounce+42@news.example.com>
Received: from out.news.example.com (out.news.example.com [203.0.113.7])
\tby mx1.example.net with ESMTPS id 7Kz; Mon, 2 Mar 2026 09:59:01 +0000
From: "The Shop" <shop@brand.example>
To: ann@example.org
Subject: =?utf-8?q?Spring_=E2=80=93_offers?=
Message-ID: <m42@news.example.com>
X-Campaign: spring
X-Letter: monday
"""
DATE = "Mon, 2 Mar 2026 12:00:00 +0200"


def mail(header: str, body: str, date: str = DATE) -> bytes:
    """A mail of a mailer's daemon to a return path, with further header lines."""
    return (
        "Return-Path: <>\n"
        "Received: from mx1.example.net by in.news.example.com; Mon, 2 Mar 2026 10:00:09 +0000\n"
        f"Date: {date}\n"
        "From: Mail Delivery System <MAILER-DAEMON@mx1.example.net>\n"
        "To: bounce+42@news.example.com\n"
        "Message-Id: <report.1@mx1.example.net>\n" + dedent(header).lstrip("\n") + "\n" + dedent(body).lstrip("\n")
    ).encode()


def multipart(*parts: tuple[str, str], subject: str = "Undelivered Mail", kind: str = "delivery-status") -> bytes:
    """A multipart/report of parts by their type."""
    body = "".join(f"--=_b1\nContent-Type: {content_type}\n\n{text}\n" for content_type, text in parts)
    header = f'Subject: {subject}\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type={kind};\n\tboundary="=_b1"\n'
    return mail(header, "A report of several parts.\n\n" + body + "--=_b1--\n")


def status(*groups: str) -> str:
    """A message/delivery-status: what is said of the message, then of each recipient."""
    return "\n".join(dedent(group).strip("\n") + "\n" for group in groups)


POSTFIX = multipart(
    ("text/plain", "The mail system at mx1.example.net\n\n<ann@example.org>: see below"),
    (
        "message/delivery-status",
        status(
            """
            Reporting-MTA: dns; mx1.example.net
            X-Postfix-Sender: rfc822; bounce+42@news.example.com
            Arrival-Date: Mon,  2 Mar 2026 09:59:01 +0000 (UTC)
            """,
            """
            Final-Recipient: rfc822; ann@example.org
            Original-Recipient: rfc822;Ann@Example.org
            Action: failed
            Status: 5.0.0
            Remote-MTA: dns; mx.example.org
            Diagnostic-Code: smtp; 550 5.1.1 <ann@example.org>: no such
                user here
            """,
        ),
    ),
    ("message/rfc822", ORIGINAL + "\nHello Ann\n"),
)

SEVERAL = multipart(
    (
        "message/delivery-status",
        status(
            "Reporting-MTA: dns; mx1.example.net\nOriginal-Envelope-Id: env-7",
            """
            Final-Recipient: RFC822; <ann@example.org>
            Action: failed
            Status: 4.0.0
            Diagnostic-Code: smtp; 552 mailbox is over its quota
            Last-Attempt-Date: Mon, 2 Mar 2026 04:30:00 -0500 (EST)
            """,
            """
            Final-Recipient: rfc822; bob@example.org
            Action: Delayed
            Status: 4.4.1 (no answer from host)
            Will-Retry-Until: Wed, 4 Mar 2026 10:00:00 +0000
            """,
            """
            Final-Recipient: rfc822; eve@example.org
            Action: relayed
            Status: 2.0.0
            """,
            """
            Final-Recipient: rfc822; dan@example.org
            Action: failed
            Status: 5.2.0
            Diagnostic-Code: x-unix; cannot open /var/mail/dan
            """,
            """
            Final-Recipient: unknown; somebody
            Action: failed
            Status: 5.0.0
            """,
        ),
    ),
    ("text/rfc822-headers", "From: shop@brand.example\nFeedback-ID: summer:acme:bulk:s1\n"),
)

EXIM = mail(
    """
    X-Failed-Recipients: ann@example.org,
      bob@example.net
    Auto-Submitted: auto-replied
    Subject: Mail delivery failed: returning message to sender
    """,
    """
    This message was created automatically by mail delivery software.

    Your message could not go to some of its recipients. The
    following address(es) failed:

      ann@example.org
        host mx.example.org [198.51.100.9]
        SMTP error from remote mail server after RCPT TO:<ann@example.org>:
        550-5.1.1 unknown
        550 5.1.1 user
      bob@example.net
        retry timeout exceeded

    ------ This is a copy of the message, including all the headers. ------

    """
    + ORIGINAL.replace("\n", "\n    ").replace("    \t", "    \t"),
)

QMAIL = mail(
    "Subject: failure notice",
    """
    Hi. This is the qmail-send program at mx1.example.net.
    Your message could not be delivered.

    <ann@example.org>:
    198.51.100.9 does not like recipient.
    Remote host said: 550 5.1.1 no such user here
    Giving up on 198.51.100.9.

    <bob@example.net>:
    Sorry, no mailbox here by that name. (#5.1.1)

    --- Below this line is a copy of the message.

    Return-Path: <bounce+42@news.example.com>
    Message-ID: <m42@news.example.com>
    From: shop@brand.example

    <carol@example.org>:
    This is the letter itself, and no report.
    """,
)

GMAIL = mail(
    """
    Subject: Delivery Status Notification (Failure)
    Content-Type: text/plain; charset=ISO-8859-1
    Content-Transfer-Encoding: quoted-printable
    """,
    """
    Delivery to the following recipient failed permanently:

         ann@example.org

    Technical details of permanent failure:=20
    We tried to deliver your message, but it was rejected by the server for the =
    recipient domain example.org by mx.example.org. [198.51.100.9].

    The error that the other server returned was:
    550 550 5.2.1 <ann@example.org>... closed (state 14)=
    .

    ----- Original message -----

    Message-Id: <m42@news.example.com>
    From: shop@brand.example
    """,
)

GMAIL_DELAY = GMAIL.replace(b"(Failure)", b"(Delay)").replace(
    b"failed permanently", b"has been delayed").replace(b"permanent failure", b"temporary failure").replace(
    b"550 550 5.2.1", b"450 450 4.2.1")  # fmt: skip

EXCHANGE = mail(
    """
    Subject: Undeliverable: Spring
    In-Reply-To: <m42@news.example.com>
    Content-Type: multipart/report; report-type=delivery-status; boundary="o"
    """,
    """
    --o
    Content-Type: multipart/alternative; boundary="i"

    --i
    Content-Type: text/plain; charset="Windows-1252"
    Content-Transfer-Encoding: quoted-printable

    Delivery has failed to these recipients or groups:

    Ann Smith<mailto:ann@example.org>
    The address was not found. Check it.

    Diagnostic information for administrators:

    Generating server: mail.example.org

    ann@example.org
    #550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup =
    ##

    Original message headers:

    From: "The Shop" <shop@brand.example>

    --i
    Content-Type: text/html

    <p>Delivery has failed</p>
    --i--
    --o--
    """,
)

SENDMAIL = mail(
    "Subject: Returned mail: see transcript for details",
    """
    The original message was received at Mon, 2 Mar 2026 09:59:01 GMT
    from out.news.example.com [203.0.113.7]

       ----- The following addresses had permanent fatal errors -----
    <ann@example.org>
        (reason: 550 5.1.1 no such user here)
    <bob@example.org>

       ----- Transcript of session follows -----
    ... while talking to mx.example.org.:
    >>> RCPT To:<ann@example.org>
    <<< 550 5.1.1 no such user here
    >>> RCPT To:<bob@example.org>
    <<< 452 4.2.2 <bob@example.org> is full
    """,
)

POSTFIX_TEXT = mail(
    "Subject: Undelivered Mail Returned to Sender",
    """
    This is the mail system at host mx1.example.net.

    <ann@example.org> (expanded from
        <all@example.org>): host mx.example.org[198.51.100.9] said: 550 5.7.1
        refused by policy (in reply to end of DATA command)
    """,
)

COMPLAINT = multipart(
    ("text/plain", "Somebody complains."),
    (
        "message/feedback-report",
        status(
            """
            Feedback-Type: abuse
            User-Agent: Loop/1.0
            Version: 1
            Original-Mail-From: <bounce+42@news.example.com>
            Original-Rcpt-To: <Ann@example.org>
            Original-Rcpt-To: <bob@example.org>
            Source-IP: 203.0.113.7
            """
        ),
    ),
    ("message/rfc822", ORIGINAL + "\nHello\n"),
    kind="feedback-report",
)
COMPLAINT_BY_ORIGINAL = COMPLAINT.replace(b"Original-Rcpt-To", b"X-Hidden")
COMPLAINT_REDACTED = COMPLAINT_BY_ORIGINAL.replace(b"To: ann@example.org", b"To: redacted@example.org")
NOT_SPAM = COMPLAINT.replace(b"Feedback-Type: abuse", b"Feedback-Type: not-spam")

OUT_OF_OFFICE = (
    b"From: Ann <ann@example.org>\nTo: bounce+42@news.example.com\nSubject: Out of office: Spring\n"
    b"Auto-Submitted: auto-replied (vacation)\nMessage-ID: <v1@example.org>\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n\n"
    b"I could not be reached; write to the following address:\n\nbob@example.org\n"
)
LETTER = (
    b"From: Ann <ann@example.org>\nTo: shop@brand.example\nSubject: my order\nMessage-ID: <l1@example.org>\n"
    b"Date: Mon, 2 Mar 2026 10:00:00 +0000\n\nWhere is it?\n"
)


def mbox(*mails: bytes, line_end: bytes = b"\n") -> bytes:
    """A mailbox (mboxrd) of mails."""
    out = b""
    for each in mails:
        quoted = b"".join(
            b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in each.splitlines(keepends=True)
        )
        out += (
            b"From MAILER-DAEMON Mon Mar  2 10:00:09 2026\n" + quoted + (b"\n" if quoted.endswith(b"\n") else b"\n\n")
        )
    return out.replace(b"\n", line_end)
