"""Records that no reader can take: cut, of an unknown type, of a wrong clock, without a recipient, not UTF-8."""

from datetime import date, timedelta
from pathlib import Path

import zstandard

from flows.generate.files import open_part
from flows.generate.history import Day

KUMOMTA = (
    b'{"type":"Delivery","id":"aa01","sender":"news@brand.example","recipient":"cut@bigmail.exa\n'
    b'{"type":"Teleportation","id":"aa02","sender":"news@brand.example","recipient":"ada.ahlers@bigmail.example",'
    b'"timestamp":%(epoch)d}\n'
    b'{"type":"Bounce","id":"aa03","sender":"news@brand.example","recipient":"ada.ahlers@bigmail.example","response":'
    b'{"code":550,"enhanced_code":null,"content":"clock of a machine just started","command":null},"timestamp":14,'
    b'"event_time":"1970-01-01T00:00:14.000000001Z"}\n'
    b'{"type":"Bounce","id":"aa04","sender":"news@brand.example","response":{"code":550,"enhanced_code":null,'
    b'"content":"no recipient","command":null},"timestamp":%(epoch)d}\n'
    b'{"type":"Delivery","id":"aa05","sender":"news@brand.example","recipient":"caf\xe9@bigmail.example",'
    b'"timestamp":%(epoch)d}\n'
)

KUMOMTA_CUT = (
    b'{"type":"XferOut","id":"aa06","sender":"news@brand.example","recipient":"ada.ahlers@bigmail.example",'
    b'"timestamp":%(epoch)d}\n'
    b'{"type":"Delivery","id":"aa07","sender":"news@brand.example","recipient":"ada.ahl'
)

POSTFIX = (
    b"this line is no syslog\n"
    b"%(syslog)s mta1 dovecot[812]: imap-login: Disconnected: user=<caf\xe9>, rip=192.0.2.90\n"
    b"%(syslog)s mta1 postfix/smtp[1702]: 00000000FF: to=<cut.short@bigmail.exa\n"
    b"\n"
)

SES_NOTIFICATIONS = (
    b'{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"cut@\n'
    b'{"eventType":"Teleportation","mail":{"timestamp":"%(day)sT12:00:00.000Z","messageId":"bad-2","destination":'
    b'["ada.ahlers@bigmail.example"]}}\n'
    b'{"notificationType":"Complaint","complaint":{"complainedRecipients":[{"emailAddress":"ada.ahlers@bigmail.example"}],'
    b'"timestamp":"1970-01-01T00:00:00.000Z"},"mail":{"timestamp":"1970-01-01T00:00:00.000Z","messageId":"bad-3",'
    b'"destination":["ada.ahlers@bigmail.example"]}}\n'
    b'{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[],'
    b'"timestamp":"%(day)sT12:00:00.000Z"},"mail":{"timestamp":"%(day)sT12:00:00.000Z","messageId":"bad-4",'
    b'"destination":[]}}\n'
)

EVENTS_JSON = (
    b'{"event_type":"delivered","event_at":"%(day)sT12:00:00Z","recip\n'
    b'{"event_type":"teleported","event_at":"%(day)sT12:00:00Z","recipient":"ada.ahlers@bigmail.example"}\n'
    b'{"event_type":"bounced","event_at":"1970-01-01T00:00:00Z","recipient":"ada.ahlers@bigmail.example"}\n'
    b'{"event_type":"bounced","event_at":"%(day)sT12:00:00Z","recipient":null}\n'
)

SENDGRID = (
    b'{"email":"ada.ahlers@bigmail.example","timestamp":%(epoch)d,"event":"delivered","sg_event_i\n'
    b'[{"email":"ada.ahlers@bigmail.example","timestamp":%(epoch)d,"event":"teleported","sg_event_id":"bad-2"}]\n'
    b'{"email":"ada.ahlers@bigmail.example","timestamp":14,"event":"bounce","type":"bounce","sg_event_id":"bad-3"}\n'
    b'[{"timestamp":%(epoch)d,"event":"bounce","type":"bounce","sg_event_id":"bad-4"}]\n'
    b'{"email":"caf\xe9@bigmail.example","timestamp":%(epoch)d,"event":"delivered","sg_event_id":"bad-5"}\n'
)

MAILGUN = (
    b'{"signature":{"token":"bad-1"},"event-data":{"event":"delivered","recipient":"cut@bigmail.exa\n'
    b'{"signature":{"token":"bad-2"},"event-data":{"event":"teleported","timestamp":%(epoch)d.5,"recipient":'
    b'"ada.ahlers@bigmail.example"}}\n'
    b'{"event":"complained","id":"bad-3","timestamp":14.25,"recipient":"ada.ahlers@bigmail.example"}\n'
    b'{"event":"failed","severity":"permanent","id":"bad-4","timestamp":%(epoch)d.75}\n'
)

SPARKPOST = (
    b'[{"msys":{"message_event":{"type":"delivery","event_id":"bad-1","rcpt_to":"cut@bigmail.exa\n'
    b'[{"msys":{"message_event":{"type":"teleportation","event_id":"bad-2","timestamp":"%(epoch)d",'
    b'"rcpt_to":"ada.ahlers@bigmail.example"}}}]\n'
    b'[{"msys":{"message_event":{"type":"bounce","event_id":"bad-3","timestamp":14,'
    b'"rcpt_to":"ada.ahlers@bigmail.example"}}}]\n'
    b'[{"msys":{"message_event":{"type":"bounce","event_id":"bad-4","timestamp":"%(epoch)d"}}}]\n'
)

POSTMARK = (
    b'{"RecordType":"Bounce","ID":1,"Type":"HardBounce","Email":"cut@bigmail.exa\n'
    b'{"RecordType":"Bounce","ID":2,"Type":"Teleported","Email":"ada.ahlers@bigmail.example",'
    b'"BouncedAt":"%(day)sT12:00:00Z"}\n'
    b'{"RecordType":"Delivery","Recipient":"ada.ahlers@bigmail.example","DeliveredAt":"1970-01-01T00:00:00.0000000Z"}\n'
    b'{"RecordType":"Bounce","ID":4,"Type":"HardBounce","BouncedAt":"%(day)sT12:00:00Z"}\n'
)

# A header of their own, so that they need not have the columns of the file before them.
POWERMTA = (
    b"type,timeLogged,orig,rcpt,dsnStatus\r\n"
    b"d,%(day)s 12:00:00+0000,news@brand.example\r\n"
    b"x,%(day)s 12:00:00+0000,news@brand.example,ada.ahlers@bigmail.example,2.0.0\r\n"
    b"b,1970-01-01 00:00:14+0000,news@brand.example,ada.ahlers@bigmail.example,5.1.1\r\n"
    b"b,%(day)s 12:00:00+0000,news@brand.example,,5.1.1\r\n"
    b"d,%(day)s 12:00:00+0000,news@brand.example,caf\xe9@bigmail.example,2.0.0\r\n"
)

EXIM = (
    b"this line is none of mainlog\n"
    b"%(day)s 12:00:61 no such time\n"
    b"1970-01-01 00:00:14 1bad03-000001-AA == ada.ahlers@bigmail.example R=dnslookup T=remote_smtp defer (110): "
    b"Connection timed out\n"
    b"%(day)s 12:00:00 1bad04-000001-AA => caf\xe9@bigmail.example R=dnslookup T=remote_smtp\n"
)

DSN = (
    b"From nobody Thu Jan  1 00:00:14 1970\n"
    b"X-Kept-By: a program that keeps no mail\n"
    b"\n"
    b"Nothing here is a mail.\n"
    b"\n"
    b"From MAILER-DAEMON Thu Jan  1 00:00:14 1970\n"
    b"From: Mail Delivery System <MAILER-DAEMON@mx1.oldmill.example>\n"
    b"To: p-0@bounce.brand.example\n"
    b"Subject: Undelivered Mail Returned to Sender\n"
    b"Date: Thu, 01 Jan 1970 00:00:14 +0000\n"
    b"Message-ID: <bad-2@mx1.oldmill.example>\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="bad"\n'
    b"\n"
    b"--bad\n"
    b"Content-Type: message/delivery-status\n"
    b"\n"
    b"Reporting-MTA: dns; mx1.oldmill.example\n"
    b"\n"
    b"Final-Recipient: rfc822; ada.ahlers@oldmill.example\n"
    b"Action: failed\n"
    b"Status: 5.1.1\n"
    b"\n"
    b"--bad--\n"
    b"\n"
)


def add_bad_records(source: str, directory: Path, first_day: date, last_day: Day) -> list[Path]:
    """Append a source's bad records to files of its first day, and what a killed KumoMTA leaves to the last."""
    values = {
        b"epoch": int((first_day - date(1970, 1, 1)) / timedelta(seconds=1)) + 43200,
        b"day": str(first_day).encode(),
        b"syslog": f"{first_day:%b} {first_day.day:2d} 12:00:00".encode(),
    }
    path, records = {
        "kumomta": (f"kumo1/{first_day:%Y%m%d}-000000.084113926", KUMOMTA),
        "postfix": (f"mta1/maillog-{first_day + timedelta(days=1):%Y%m%d}.gz", POSTFIX),
        "ses": (f"identity/notifications-{first_day}.jsonl", SES_NOTIFICATIONS),
        "powermta": (f"acct-{first_day}-0001.csv", POWERMTA),
        "sendgrid": (f"collector/sendgrid-{first_day}.ndjson.gz", SENDGRID),
        "mailgun": (f"export/events-{first_day}.ndjson.gz", MAILGUN),
        "sparkpost": (f"webhooks/batches-{first_day}-12.jsonl.gz", SPARKPOST),
        "postmark": (f"hook1/{first_day}.jsonl.gz", POSTMARK),
        "exim": (f"exim1/mainlog-{first_day + timedelta(days=1):%Y%m%d}.gz", EXIM),
        "dsn": (f"bounces-{first_day}.mbox", DSN),
        "events": (f"events-{first_day}.jsonl.gz", EVENTS_JSON),
    }[source]
    with open_part(directory / path) as output:
        output.write(records % values)
    if source != "kumomta":
        return [directory / path]
    # Killed within a frame: what was flushed decodes, and the frame never ends.
    cut = directory / f"kumo2/{last_day.date:%Y%m%d}-120000"
    compressor = zstandard.ZstdCompressor(3).compressobj()
    with cut.open("ab") as file:
        file.write(compressor.compress(KUMOMTA_CUT % values))
        file.write(compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return [directory / path, cut]
