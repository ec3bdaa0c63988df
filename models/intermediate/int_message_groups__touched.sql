-- Groups of which the batch says something: everything derived of them is derived again.
-- depends_on: {{ ref('int_delivery_events__united') }}

{% if is_retouched() %}
select distinct message_group_id from {{ ref('int_delivery_events__united') }}
union
{% endif %}
select message_group_id from {{ ref('int_staged_events__collected') }}
where event_type is not null and {{ in_batch() }}
union
select message_group_id from {{ ref('stg_postfix__lines') }}
where line_kind not in ('recipient', 'other')
union
select message_group_id from {{ ref('stg_exim__lines') }}
where line_kind in ('arrival', 'removed')
union
-- what a content filter gave back keeps the campaign of what it was given
select message_group_id from {{ ref('int_postfix__queue_facts') }}
where
    fact = 'origin'
    and fact_value in (select cast(message_group_id as varchar) from {{ ref('stg_postfix__lines') }})
