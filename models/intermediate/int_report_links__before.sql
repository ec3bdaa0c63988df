-- The links by which messages were judged so far: as the last finished build left them, and where builds since then did not
-- come to their end, those of each of them too. What they are compared with: a link that differs from any of them was changed.

{%- set links = this.incorporate(path={'identifier': 'int_report_links__found'}) %}
{%- set columns = {
    'event_id': 'uuid', 'report_source_name': 'varchar', 'report_source_file': 'varchar', 'report_date': 'date', 'report_at': 'timestamp',
    'report_event_type': 'varchar', 'report_message_group_id': 'uuid', 'report_recipient': 'varchar', 'report_message_id': 'varchar',
    'report_envelope_sender': 'varchar', 'source_name': 'varchar', 'message_group_id': 'uuid', 'message_recipient_id': 'uuid',
    'message_id': 'varchar', 'envelope_sender': 'varchar', 'from_domain': 'varchar', 'campaign_id': 'varchar', 'sending_ip': 'varchar',
    'first_event_at': 'timestamp', 'has_failed': 'boolean', 'linked_by': 'varchar', 'is_notice': 'boolean',
} %}

{% if is_continued() %}
select {{ columns | join(', ') }} from {{ links }}
{% elif is_resumed() %}
select {{ columns | join(', ') }} from {{ links }}
union
-- of this model, as the build left it that did not come to its end
select {{ columns | join(', ') }} from {{ this }}
{% else %}
-- nothing is known of them: all are taken for changed
select
{% for column, type in columns.items() %}
    cast(null as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
{% endfor %}
where false
{% endif %}
