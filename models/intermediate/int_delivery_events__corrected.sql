-- What only the events of one message together tell of the events of the touched groups: sender, campaign and Message-ID of
-- a queue id, expiry of its recipients, out-of-band bounces, attempt numbers, the last reply before an expiry. One row for
-- each event that is not as it was logged (`logged_event_id`), and for each expiry that Postfix logs for several recipients
-- at once, after the last event of the recipient.
-- depends_on: {{ ref('int_logged_days__touched') }}

{%- set are_of_touched_days = 'fact_date in (select event_date from ' ~ ref('int_logged_days__touched') ~ ') and'
    if not is_rebuilt() else '' %}

with events as {{ inlined_where_rebuilt() }} (
    select
        event_id,
        source_name,
        message_group_id,
        message_recipient_id,
        message_id,
        recipient,
        envelope_sender,
        from_domain,
        campaign_id,
        event_at,
        event_type,
        is_attempt,
        attempt_number,
        response_origin
    from {{ ref('int_delivery_events__logged') }}
),

touched as (
    select * from {{ ref('int_message_groups__touched') }}
),

postfix_facts as {{ inlined_where_rebuilt() }} (
    select * from {{ ref('int_postfix__queue_facts') }}
    where
        {{ are_of_touched_days }}
        message_group_id in (select message_group_id from touched)
),

exim_facts as (
    select * from {{ ref('int_exim__message_facts') }}
    where
        {{ are_of_touched_days }}
        message_group_id in (select message_group_id from touched)
),

handed_over as (
    select
        *,
        cast(fact_value as uuid) as origin_group_id
    from postfix_facts
    where fact = 'origin'
),

origins as (
    select origin_group_id as message_group_id from handed_over
),

origin_days as (
    {{ days_of_groups('origins') }}
),

origin_facts as (
    select * from {{ ref('int_postfix__queue_facts') }}
    where
        fact_date in (select event_date from origin_days)
        and message_group_id in ({{ listed('message_group_id', 'origins') }})
        and (fact = 'sender' or starts_with(fact, 'header'))
),

-- what was said last of a queue id before a content filter took its message
inherited_facts as (
    select
        origin_facts.* replace (
            {{ digest(['handed_over.line_id', 'origin_facts.line_id']) }} as line_id,
            handed_over.message_group_id as message_group_id,
            handed_over.fact_at as fact_at
        )
    from handed_over
    inner join origin_facts
        on
            handed_over.origin_group_id = origin_facts.message_group_id
            and handed_over.fact_at >= origin_facts.fact_at
    qualify row_number() over (
        partition by handed_over.line_id, origin_facts.fact
        order by origin_facts.fact_at desc, origin_facts.line_id desc
    ) = 1
),

queue_facts as (
    select * from postfix_facts
    union all by name
    select * from inherited_facts
    union all by name
    select * from exim_facts
),

-- A short queue id is used again after its file is removed (never within the same second: it holds the microsecond),
-- so the removals before a line number the lives of the id.
queue_lives as (
    select
        message_group_id,
        event_id as line_id,
        event_at as line_at,
        null as fact,
        null as fact_value
    from events
    where source_name in ('postfix', 'exim')
    union all
    select
        message_group_id,
        line_id,
        fact_at as line_at,
        fact,
        fact_value
    from queue_facts
),

queue_lives_numbered as (
    select
        *,
        count(*) filter (fact = 'removed') over (
            partition by message_group_id
            order by line_at
            range between unbounded preceding and interval 1 microsecond preceding
        ) as life_number
    from queue_lives
),

queue_messages as (
    select
        message_group_id,
        life_number,
        min_by(fact_value, (line_at, line_id)) filter (fact = 'message_id') as message_id,
        min_by(fact_value, (line_at, line_id)) filter (fact in ('sender', 'expired')) as envelope_sender,
        min_by(fact_value, (line_at, line_id)) filter (fact in ('header x-campaign', 'header x-campaign-id')) as campaign_id,
        min_by(fact_value, (line_at, line_id)) filter (fact = 'header from') as from_header
    from queue_lives_numbered
    group by message_group_id, life_number
),

attributed as (
    select
        events.* replace (
            coalesce(queue_messages.message_id, events.message_id) as message_id,
            coalesce(events.envelope_sender, queue_messages.envelope_sender) as envelope_sender,
            coalesce(events.from_domain, {{ header_domain('queue_messages.from_header') }}) as from_domain,
            coalesce(events.campaign_id, queue_messages.campaign_id) as campaign_id
        ),
        coalesce(queue_lives_numbered.life_number, 0) as life_number
    from events
    left join queue_lives_numbered on events.event_id = queue_lives_numbered.line_id
    left join queue_messages
        on
            queue_lives_numbered.message_group_id = queue_messages.message_group_id
            and queue_lives_numbered.life_number = queue_messages.life_number
    where events.source_name in ('postfix', 'exim')
),

-- qmgr(8) says once for a queue id that it expired: true of every recipient that was still deferred
expiries as (
    select
        lives.message_group_id,
        lives.life_number,
        min(lives.line_at) as expired_at,
        min_by(
            {
                'source_file': facts.source_file,
                'file_digest': facts.file_digest,
                'record_number': facts.record_number,
                'landed_at': facts.landed_at
            },
            (lives.line_at, lives.line_id)
        ) as line
    from queue_lives_numbered as lives
    inner join queue_facts as facts on lives.line_id = facts.line_id
    where lives.fact = 'expired'
    group by lives.message_group_id, lives.life_number
),

last_before_expiry as (
    select
        attributed.*,
        expiries.expired_at,
        expiries.line
    from attributed
    inner join expiries
        on
            attributed.message_group_id = expiries.message_group_id
            and attributed.life_number = expiries.life_number
            and attributed.event_at <= expiries.expired_at
    where attributed.source_name = 'postfix'
    qualify row_number() over (
        partition by attributed.message_group_id, attributed.life_number, attributed.recipient
        order by attributed.event_at desc, attributed.event_id desc
    ) = 1
),

with_expiries as (
    select
        *,
        event_id as logged_event_id
    from attributed
    union all by name
    select
        * exclude (expired_at) replace (
            {{ digest(['message_group_id', 'life_number', 'recipient', 'expired_at', "'expired'"]) }} as event_id,
            expired_at as event_at,
            'expired' as event_type,
            false as is_attempt,
            cast(null as integer) as attempt_number,
            'local' as response_origin
        ),
        event_id as logged_event_id
    from last_before_expiry
    where event_type = 'deferred'
),

of_queues as (
    select
        * exclude (life_number) replace ({{ message_recipient_id('life_number') }} as message_recipient_id),
        true as is_of_queue
    from with_expiries
),

identified as {{ inlined_where_rebuilt() }} (
    select * from of_queues
    union all by name
    select
        *,
        event_id as logged_event_id,
        false as is_of_queue
    from events
    where source_name not in ('postfix', 'exim')
),

-- Only the events of some messages tell of each other: those are looked at together, and the others are left as they are. Most
-- messages have no event that says so.
telling as (
    select
        message_recipient_id,
        bool_or(event_type = 'bounced') as is_refused,
        bool_or(is_attempt and attempt_number is null) as is_uncounted,
        coalesce(bool_or(event_type = 'expired' and response_origin <> 'remote'), false) as is_given_up
    from identified
    where event_type in ('bounced', 'expired') or (is_attempt and attempt_number is null)
    group by message_recipient_id
),

acceptances as (
    select
        message_recipient_id,
        min(event_at) as delivered_at
    from identified
    where
        event_type = 'delivered'
        and message_recipient_id in (
            select message_recipient_id from telling
            where is_refused
        )
    group by message_recipient_id
),

related as (
    select
        telling.message_recipient_id,
        telling.is_uncounted,
        acceptances.delivered_at
    from telling
    left join acceptances on telling.message_recipient_id = acceptances.message_recipient_id
    where telling.is_uncounted or telling.is_given_up or acceptances.delivered_at is not null
),

-- all events of a related message, and all of a queue
concerned as (
    select
        identified.* exclude (event_type),
        identified.event_type as logged_event_type,
        -- a refusal after an acceptance came out of band, by whatever name the source has for it
        case
            when identified.event_type = 'bounced' and identified.event_at > related.delivered_at then 'out_of_band_bounce'
            else identified.event_type
        end as event_type,
        related.is_uncounted
    from identified
    left join related on identified.message_recipient_id = related.message_recipient_id
    where identified.is_of_queue or related.message_recipient_id is not null
),

with_attempts as (
    select
        * replace (
            is_attempt and event_type in ('delivered', 'deferred', 'bounced') as is_attempt
        )
    from concerned
),

attempts as (
    select
        event_id,
        row_number() over (partition by message_recipient_id order by event_at, event_id) as attempt_number
    from with_attempts
    where is_attempt and is_uncounted
),

-- the last real reply says why a message expired better than the words of the queue that gave it up
given_up as (
    select
        expired.event_id,
        replies.logged_event_id,
        replies.event_at as replied_at,
        replies.event_id as reply_event_id
    from with_attempts as expired
    inner join with_attempts as replies
        on
            expired.message_recipient_id = replies.message_recipient_id
            and expired.event_at >= replies.event_at
            and replies.event_type in ('deferred', 'bounced')
    where expired.event_type = 'expired' and expired.response_origin <> 'remote'
),

last_replies as (
    select
        given_up.event_id,
        max_by(
            {
                'response_text': logged.response_text,
                'smtp_code': logged.smtp_code,
                'enhanced_code': logged.enhanced_code,
                'response_origin': logged.response_origin,
                'mx_host': logged.mx_host,
                'mx_ip': logged.mx_ip
            },
            (given_up.replied_at, given_up.reply_event_id)
        ) as reply
    from given_up
    inner join {{ ref('int_delivery_events__logged') }} as logged on given_up.logged_event_id = logged.event_id
    where logged.response_text is not null
    group by given_up.event_id
)

select
    with_attempts.event_id,
    with_attempts.logged_event_id,
    with_attempts.message_recipient_id,
    with_attempts.message_id,
    with_attempts.envelope_sender,
    with_attempts.from_domain,
    with_attempts.campaign_id,
    with_attempts.event_at,
    cast(with_attempts.event_at as date) as event_date,
    with_attempts.event_type,
    with_attempts.is_attempt,
    case
        when with_attempts.is_attempt then coalesce(with_attempts.attempt_number, attempts.attempt_number)
    end as attempt_number,
    with_attempts.line,
    last_replies.reply
from with_attempts
left join attempts on with_attempts.event_id = attempts.event_id
left join last_replies on with_attempts.event_id = last_replies.event_id
where
    with_attempts.is_of_queue
    or attempts.event_id is not null
    or last_replies.event_id is not null
    or with_attempts.event_type <> with_attempts.logged_event_type
