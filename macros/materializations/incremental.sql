{#-
    Tables that a batch changes in part, in one transaction. What the model gives takes the place of

    - with `unique_key`, the rows of the same key;
    - with `touched: {column: …, model: …}`, all rows whose `column` is among the same column of `model`, or of what this
      model itself gives. That also removes rows whose key no longer comes out of the model, so that a table built day
      by day equals one built at once. `days`, likewise a column and a model, names the days of which all these rows are, where
      the engine need not look for them in all others;
    - with `batch_key`, the rows of the files of the batch, `batch_key` being the column of their digest. What the model
      gives goes straight into the table, which it must not read itself.

    With `anew_unless_continued` the table is made anew as a whole where the lists are not as the last build finished them
    (`is_list_continued`): a model for which addresses are told to have changed by comparing. It must give all rows then.

    A model that has changed is built anew from landing (flows/build.py), so the columns are those of the table.
-#}
{% materialization incremental, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ begin_model(target) }}
    {% if existing is none or not existing.is_table or should_full_refresh()
        or (config.get('anew_unless_continued') and not is_list_continued()) %}
        {% call statement('main') -%}
            {{ replace_table_sql(target) }}
        {%- endcall %}
    {% elif config.get('batch_key') %}
        {% call statement('main') -%}
            delete from {{ target }}
            where {{ config.get('batch_key') }} in (select file_digest from {{ source('landing', 'loads') }});
            insert into {{ target }} by name {{ sql }}
        {%- endcall %}
    {% else %}
        {%- set changed = model['name'] ~ '__changed' -%}
        {%- set touched = config.get('touched') -%}
        {%- set column = touched['column'] if touched else config.require('unique_key') -%}
        {% call statement('main') -%}
            create or replace temporary table {{ changed }} as (
                {{ sql }}
            );
            delete from {{ target }}
            where
                {% if config.get('days') %}
                {%- set days = config.get('days') -%}
                {{ days['column'] }} in (select {{ days['column'] }} from {{ ref(days['model']) }}) and
                {%- endif %}
                {{ column }} in (
                    select {{ column }} from {{ changed }}
                    {% if touched %}union all select {{ column }} from {{ ref(touched['model']) }}{% endif %}
                );
            insert into {{ target }} by name select * from {{ changed }};
            drop table {{ changed }}
        {%- endcall %}
    {% endif %}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
