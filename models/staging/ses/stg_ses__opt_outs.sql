-- Amazon SES's records of people who changed what they want to be mailed: all of it refused, or not any more.
-- Format: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html

select
    {{ digest([
        "'ses'", json_text('mail', '$.messageId'), normal_address(json_text('mail', '$.destination[0]')),
        json_text('subscription', '$.timestamp'),
    ]) }} as opt_out_id,
    'ses' as source_name,
    {{ normal_address(json_text('mail', '$.destination[0]')) }} as address,
    coalesce(
        {{ timestamp_from_iso(json_text('subscription', '$.timestamp')) }},
        {{ timestamp_from_iso(json_text('mail', '$.timestamp')) }}
    ) as event_at,
    {{ json_text('subscription', '$.newTopicPreferences.unsubscribeAll') }} = 'false' as is_removal,
    concat_ws(' ', "eventType", {{ json_text('subscription', '$.source') }}) as why
from {{ source('landing', 'ses') }}
where
    "eventType" = 'Subscription'
    and (
        {{ json_text('subscription', '$.newTopicPreferences.unsubscribeAll') }} = 'true'
        or (
            {{ json_text('subscription', '$.newTopicPreferences.unsubscribeAll') }} = 'false'
            and {{ json_text('subscription', '$.oldTopicPreferences.unsubscribeAll') }} = 'true'
        )
    )
