{#-
    What must hold of a table, in one test: a test costs dbt far more than it costs the engine. One row for each rule that
    is broken: the rule, how many rows (of a key: how many values) break it, and three of them.

    filled: columns that hold no null.
    keys: lists of columns, each unique together; null counts as a value.
    accepted: by column, the texts that it may hold, beside null.
    references: by column, the table in whose column of the same name each value is, beside null.
    among: the rows that are looked at, where all that the build can have changed are among them: `batch`, those of its files; `told`, facts
        of the days of which its files tell some;
        `touched`, the events of the touched groups; `replaced`, the messages whose rows are; `days`, those of
        the days that are replaced; `undelivered`, those of the days that the undeliveries report has anew; `concluded`, what ended
        undelivered on the days that are counted anew; `listed`, `profiled`, `compared`, the addresses whose rows on the lists, among
        the profiles or in the comparison of the policies are replaced. All, where the build tests everything (`is_tested_whole`).
-#}
{% test rules(model, filled=[], keys=[], accepted={}, references={}, among=none) %}

{#- before all else: while dbt parses, to see what this depends on, nothing is continued -#}
{%- if among == 'concluded' -%}
    {%- set dates = ref('int_conclusion_dates__touched') -%}
    {%- set chosen = 'undelivered_date in (select event_date from ' ~ dates ~ ')' -%}
{%- endif -%}
{%- if among is none or is_tested_whole() or (among == 'concluded' and not is_list_continued()) -%}
    {%- set chosen = 'true' -%}
{%- elif among == 'batch' -%}
    {%- set chosen = in_batch() -%}
{%- elif among == 'told' -%}
    {%- set chosen = 'fact_date in (select fact_date from ' ~ model ~ ' where ' ~ in_batch() ~ ')' -%}
{%- elif among == 'touched' -%}
    {%- set chosen -%}
    event_date in (select event_date from {{ ref('int_logged_days__touched') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
    {%- endset -%}
{%- elif among == 'replaced' -%}
    {%- set chosen -%}
    first_event_date in (select first_event_date from {{ ref('int_message_dates__replaced') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__replaced') }})
    {%- endset -%}
{%- elif among == 'days' -%}
    {%- set chosen = 'event_date in (select event_date from ' ~ ref('int_event_dates__touched') ~ ')' -%}
{%- elif among == 'undelivered' -%}
    {%- set chosen = 'undelivered_date in (select undelivered_date from ' ~ ref('int_undelivery_dates__touched') ~ ')' -%}
{%- elif among == 'listed' -%}
    {%- set chosen = 'address in (select address from ' ~ ref('int_suppression_addresses__changed') ~ ')' -%}
{%- elif among == 'profiled' -%}
    {%- set chosen -%}
    address in (
        select address from {{ ref('int_profiles__touched') }}
        union all
        select address from {{ ref('int_profile_histories__changed') }}
    )
    {%- endset -%}
{%- elif among == 'compared' -%}
    {%- set chosen = 'address in (select address from ' ~ ref('int_policy_addresses__changed') ~ ')' -%}
{%- elif among != 'concluded' -%}
    {%- set known = 'batch, told, touched, replaced, days, undelivered, concluded, listed, profiled, compared' -%}
    {{ exceptions.raise_compiler_error('among is one of ' ~ known ~ ', or nothing, not ' ~ among) }}
{%- endif -%}

{%- set shown = (filled + (keys | sum(start=[])) + (accepted | list)) | unique | list -%}
{%- set row_rules = [] -%}
{%- for column in filled -%}
    {%- do row_rules.append((column ~ ' is null', column ~ ' is null')) -%}
{%- endfor -%}
{%- for column, texts in accepted.items() -%}
    {%- do row_rules.append((
        column ~ ' is none of ' ~ texts | join(', '),
        column ~ " not in ('" ~ texts | join("', '") ~ "')",
    )) -%}
{%- endfor -%}
{%- set searches = [] -%}
{%- if row_rules -%}
    {%- set cases = [] -%}
    {%- for rule, condition in row_rules -%}
        {%- do cases.append('case when ' ~ condition ~ " then '" ~ rule ~ "' end") -%}
    {%- endfor -%}
    {%- set search -%}
    select
        unnest([{{ cases | join(', ') }}]) as rule,
        {{ row_as_text(shown) }} as found
    from checked
    where {{ row_rules | map(attribute=1) | join(' or ') }}
    {%- endset -%}
    {%- do searches.append(search) -%}
{%- endif -%}
{%- for key in keys -%}
    {%- set search -%}
    select
        '{{ key | join(', ') }}: not unique' as rule,
        {{ row_as_text(key) }} as found
    from checked
    group by {{ key | join(', ') }}
    having count(*) > 1
    {%- endset -%}
    {%- do searches.append(search) -%}
{%- endfor -%}
{%- for column, parent in references.items() -%}
    {%- set search -%}
    select
        '{{ column }} is not in {{ parent.identifier }}' as rule,
        {{ row_as_text([column]) }} as found
    from checked as child
    where
        child.{{ column }} is not null
        and not exists (select 1 from {{ parent }} as parent where parent.{{ column }} = child.{{ column }})
    {%- endset -%}
    {%- do searches.append(search) -%}
{%- endfor -%}
with checked as {{ 'not materialized' if chosen == 'true' else '' }} (
    select * from {{ model }}
    where {{ chosen }}
),

broken as (
    {{ searches | join('\n    union all\n    ') }}
)

select
    rule,
    count(*) as row_count,
    min(found, 3) as examples
from broken
where rule is not null
group by rule
order by rule

{% endtest %}
