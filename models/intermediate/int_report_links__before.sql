-- The links as the last finished build left them, where this one carries on from it: what they are compared with.

{% if is_continued() %}
select * from {{ this.incorporate(path={'identifier': 'int_report_links__found'}) }}
{% else %}
-- nothing is known of them: all are taken for changed
select cast(null as uuid) as event_id
where false
{% endif %}
