-- Addresses of which the batch says something, and when they were first and last heard of by now; null of one that no event
-- names any more. Every address that mail was sent to, where tables are not carried on from the last build.
-- depends_on: {{ ref('int_logged_days__touched') }}
-- depends_on: {{ ref('int_message_groups__touched') }}
-- depends_on: {{ ref('int_postfix__queue_facts') }}
-- depends_on: {{ ref('int_staged_events__collected') }}
-- depends_on: {{ ref('int_staged_events__repeated') }}

{% if is_list_continued() %}
with events as (
    select
        recipient as address,
        event_at,
        message_group_id
    from {{ ref('fct_delivery_events') }}
    where
        event_date in (select event_date from {{ ref('int_logged_days__touched') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
        and recipient is not null
),

heard as (
    select
        address,
        min(event_at) as first_seen_at,
        max(event_at) as last_seen_at
    from events
    group by address
),

given_up as (
    select
        message_group_id,
        fact_at
    from {{ ref('int_postfix__queue_facts') }}
    where
        fact = 'expired'
        and fact_date in (select event_date from {{ ref('int_logged_days__touched') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
),

-- What may have been an event and be none any more: of the copies of a record another counts, or what a queue manager gave up
-- was another recipient's or another life's of the queue id
doubtful_times as (
    select distinct
        recipient as address,
        event_at as doubtful_at
    from {{ ref('int_staged_events__collected') }}
    where
        event_date in (select event_date from {{ ref('int_logged_days__touched') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
        and event_id in (select event_id from {{ ref('int_staged_events__repeated') }})
        and recipient is not null
    union
    select
        events.address,
        given_up.fact_at as doubtful_at
    from given_up
    inner join events on given_up.message_group_id = events.message_group_id
),

addresses as (
    select address from heard
    union
    select address from doubtful_times
),

profiles as (
    select
        address,
        first_seen_at,
        last_seen_at
    from marts.marts.dim_profiles
    where address in (select address from addresses)
),

-- nothing that was known of these may be carried on: no event of the touched groups tells of a time that may be none any more
doubtful as (
    select distinct profiles.address
    from profiles
    inner join doubtful_times on profiles.address = doubtful_times.address
    left join heard on profiles.address = heard.address
    where
        (
            doubtful_times.doubtful_at = profiles.first_seen_at
            and (heard.address is null or profiles.first_seen_at < heard.first_seen_at)
        )
        or (
            doubtful_times.doubtful_at = profiles.last_seen_at
            and (heard.address is null or profiles.last_seen_at > heard.last_seen_at)
        )
),

combined as (
    select * from heard
    union all by name
    select * from profiles
    where address not in (select address from doubtful)
    union all by name
    -- there are hardly ever any, and then nothing is read
    select
        recipient as address,
        min(event_at) as first_seen_at,
        max(event_at) as last_seen_at
    from {{ ref('fct_delivery_events') }}
    where recipient in (select address from doubtful)
    group by recipient
    union all by name
    select
        address,
        first_seen_at,
        last_seen_at
    from {{ source('landing', 'retained_profiles') }}
    where address in (select address from doubtful)
),

summed as (
    select
        address,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from combined
    group by address
)

select
    addresses.address,
    summed.first_seen_at,
    summed.last_seen_at,
    coalesce(summed.first_seen_at <> profiles.first_seen_at, true) as is_first_seen_changed
from addresses
left join summed on addresses.address = summed.address
left join profiles on addresses.address = profiles.address
{% else %}
with combined as (
    select
        recipient as address,
        event_at as first_seen_at,
        event_at as last_seen_at
    from {{ ref('fct_delivery_events') }}
    where recipient is not null
    union all by name
    -- as long as there are events of it, or it is in a ledger
    select
        address,
        first_seen_at,
        last_seen_at
    from {{ source('landing', 'retained_profiles') }}
)

select
    address,
    min(first_seen_at) as first_seen_at,
    max(last_seen_at) as last_seen_at,
    true as is_first_seen_changed
from combined
group by address
{% endif %}
