"""SparkPost: webhook batches and pages of its Events API (https://developers.sparkpost.com/api/events/)."""

from flows.landing.source import Context, Source, judge_objects

FIELDS = (
    "type", "event_id", "timestamp", "message_id", "transmission_id", "rcpt_to", "raw_rcpt_to", "msg_from",
    "friendly_from", "campaign_id", "rcpt_tags", "rcpt_meta", "subaccount_id", "sending_ip", "ip_pool", "ip_address",
    "routing_domain", "error_code", "bounce_class", "raw_reason", "reason", "num_retries", "queue_time", "delv_method",
    "template_id", "fbtype", "subject",
)  # fmt: skip
EVENT_KINDS = (
    "injection", "delivery", "delay", "bounce", "out_of_band", "policy_rejection", "generation_failure",
    "generation_rejection", "spam_complaint",
)  # fmt: skip
IGNORED_KINDS = (
    "open", "initial_open", "click", "amp_open", "amp_initial_open", "amp_click", "list_unsubscribe",
    "link_unsubscribe", "sms_status", "relay_injection", "relay_rejection", "relay_delivery", "relay_tempfail",
    "relay_permfail", "ab_test_completed", "ab_test_cancelled", "success", "error", "ping",
)  # fmt: skip


def judge(context: Context) -> str:
    """Events out of `msys`, whatever class of event they are wrapped in; SparkPost's ping wraps none."""
    return judge_objects(
        context,
        FIELDS,
        wrapper=("msys", "message_event"),
        body="""case
                when contains(line, '"msys"') then coalesce(try(json_extract_string(line, '$.msys.*')[1]), line)
                else line
            end""",
        kind="coalesce(type, case when try(json_extract_string(line, '$.msys')) = '{}' then 'ping' end)",
        event_kinds=EVENT_KINDS,
        ignored_kinds=IGNORED_KINDS,
        recipient="coalesce(nullif(rcpt_to, ''), raw_rcpt_to)",
        time="timestamp",
    )


SOURCE = Source(name="sparkpost", form="json", fields=FIELDS, judge=judge, list_key="results")
