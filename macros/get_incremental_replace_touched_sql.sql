{#-
    Incremental strategy `replace_touched`: what the model says of everything that the batch touched replaces what
    the table held of it, in one transaction. Unlike `delete+insert` it also removes rows whose key no longer
    comes out of the model, so a table built day by day equals one built at once.

    Config `touched: {column: ..., model: ...}`: rows are replaced where `column` is among the same column of `model`,
    or of what this model itself gives.
-#}
{% macro get_incremental_replace_touched_sql(arg_dict) %}
    {%- set touched = config.require('touched') -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict['target_relation'] }}
    where
        {{ touched['column'] }} in (select {{ touched['column'] }} from {{ ref(touched['model']) }})
        or {{ touched['column'] }} in (select {{ touched['column'] }} from {{ arg_dict['temp_relation'] }});

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }};
{% endmacro %}
