-- Groups of messages that time alone can end, though the batch says nothing of them. All messages of these groups are judged
-- again, those that have ended too: rows are replaced by group. None, where everything is built from landing.

{% if is_rebuilt() -%}
select cast(null as uuid) as message_group_id
where false
{%- else -%}
select distinct message_group_id from marts.marts.fct_messages
where {{ is_open_message() }}
{%- endif %}
