-- The links by which messages were judged so far: as the last finished build left them, and where builds since then did not
-- come to their end, those of each of them too. What they are compared with: a link that differs from any of them was changed.

{% if is_continued() or is_resumed() %}
select * from {{ this.incorporate(path={'identifier': 'int_report_links__found'}) }}
{%- if is_resumed() %}
union by name
-- of this model, as the build left it that did not come to its end
select * from {{ this }}
{%- endif %}
{% else %}
-- nothing is known of them: all are taken for changed
select cast(null as uuid) as event_id
where false
{% endif %}
