-- Days on which the messages began whose rows this build replaces: those of the groups that are judged anew, and those that
-- time alone can end.

select first_event_date from {{ ref('int_message_dates__judged') }}
{% if not is_rebuilt() -%}
union
select first_event_date from marts.marts.fct_messages
where {{ is_open_message() }}
{%- endif %}
