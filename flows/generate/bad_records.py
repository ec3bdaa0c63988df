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
