{#-
    Tables that a batch changes in part, in one transaction. What the model gives takes the place of

    - with `unique_key`, the rows of the same key;
    - with `touched: {column: …, model: …}`, all rows whose `column` is among the same column of `model`, or of what this
      model itself gives. That also removes rows whose key no longer comes out of the model, so that a table built day
      by day equals one built at once. `days`, likewise a column and a model (or what this model itself gives, where none is named),
      names the days of which all these rows are, so that the engine need not look for them in all others;
    - with `batch_key`, the rows of the files of the batch, `batch_key` being the column of their digest: those that a build left which did
      not come to its end, so nothing is looked for where the table is as the last one finished it. What the model
      gives goes straight into the table, which it must not read itself, by portions of the batch, each in the order of `order_by`:
      to sort all of a great batch would take many times its memory.

    With `spread_by`, a column of UUIDs by which the model groups, what it gives is made by shares of these, of great batches: the engine keeps the
    states of all groups of an aggregation in memory. With `spread_by_days`, a model, by shares of the days of `days`, each of so many rows of that model.
    What it gives lies in the order of `order_by`: aggregations and joins of two great tables give days in any, and of a table without order no
    row group can be passed over.

    With `anew_unless_continued` the table is made anew as a whole where the lists are not as the last build finished them
    (`is_list_continued`): a model for which addresses are told to have changed by comparing. It must give all rows then.

    A model that has changed is built anew from landing (flows/build.py), so the columns are those of the table.
-#}
{% materialization incremental, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set order = 'order by ' ~ config.get('order_by') if config.get('order_by') else '' -%}
    {{ begin_model(target) }}
    {%- set is_made = existing is none or not existing.is_table or should_full_refresh()
        or (config.get('anew_unless_continued') and not is_list_continued()) -%}
    {% if config.get('batch_key') %}
        {% call statement('main') -%}
            {% if is_made %}
            create or replace table {{ target }} as select * from ({{ sql }}) as model where false;
            {% elif not is_continued() %}
            delete from {{ target }}
            where {{ config.get('batch_key') }} in (select file_digest from {{ source('landing', 'loads') }});
            {% endif %}
            {% for portion in portions_of_batch() %}
            insert into {{ target }} by name
            select * from (
                {{ sql }}
            ) as model
            where {{ portion }}
            {{ order }}{{ ';' if not loop.last }}
            {% endfor %}
        {%- endcall %}
    {% elif is_made %}
        {%- set shares = shares_of_batch() -%}
        {% call statement('main') -%}
            {{ replace_table_sql(target, shares[0], order) }};
            {% for share in shares[1:] %}
            insert into {{ target }} by name
            select * from (
                {{ sql }}
            ) as model
            where {{ share }}
            {{ order }};
            {% endfor %}
        {%- endcall %}
    {% else %}
        {%- set changed = model['name'] ~ '__changed' -%}
        {%- set touched = config.get('touched') -%}
        {%- set column = touched['column'] if touched else config.require('unique_key') -%}
        {% call statement('main') -%}
            {% for share in shares_of_batch() %}
            {{ 'create or replace temporary table ' ~ changed ~ ' as' if loop.first else 'insert into ' ~ changed ~ ' by name' }}
            select * from (
                {{ sql }}
            ) as model
            where {{ share }};
            {% endfor %}
            delete from {{ target }}
            where
                {% if config.get('days') %}
                {%- set days = config.get('days') -%}
                {{ days['column'] }} in (select {{ days['column'] }} from {{ ref(days['model']) if days['model'] else changed }}) and
                {%- endif %}
                {{ column }} in (
                    select {{ column }} from {{ changed }}
                    {% if touched %}union all select {{ column }} from {{ ref(touched['model']) }}{% endif %}
                );
            insert into {{ target }} by name select * from {{ changed }} {{ order }};
            drop table {{ changed }}
        {%- endcall %}
    {% endif %}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- How many records a great batch is cut by; tests cut small ones, by an environment variable (macros/this_build.sql says why such). -#}
{% macro records_at_once() -%}
    {{ return(dbt_metadata_envs.get('RECORDS_AT_ONCE', 2000000) | int) }}
{%- endmacro %}

{#-
    Conditions that part the records of the batch, so that each has about so many as are taken at once: by the time of landing, which all
    records of a landing file share, so that the engine passes over the files of the other portions.
-#}
{% macro portions_of_batch() %}
    {%- set query -%}
    select landed_at, sum(records_landed) from {{ source('landing', 'loads') }} group by landed_at order by landed_at
    {%- endset -%}
    {{ return(ranges('landed_at', find_bounds('timestamp', query, records_at_once()))) }}
{% endmacro %}

{#-
    Conditions that part what a model with `spread_by` or `spread_by_days` gives, so that each has what comes of four times as many; of other
    models one that always holds.
-#}
{% macro shares_of_batch() %}
    {%- set groups, counted, size = config.get('spread_by'), config.get('spread_by_days'), 4 * records_at_once() -%}
    {%- set count = 1 -%}
    {%- if groups or counted -%}
        {%- set records = run_query('select coalesce(sum(records_landed), 0) from ' ~ source('landing', 'loads')).rows[0][0] | int -%}
        {%- set count = [records // size + 1, 256] | min -%}
    {%- endif -%}
    {%- if count == 1 -%}{{ return(['true']) }}{%- endif -%}
    {%- if groups -%}
        {%- set bounds = [] -%}
        {%- for number in range(1, count) -%}
            {%- do bounds.append("uuid '" ~ '%02x' % (256 * number // count) ~ "000000-0000-0000-0000-000000000000'") -%}
        {%- endfor -%}
        {{ return(ranges(groups, bounds)) }}
    {%- endif -%}
    {%- set days = config.require('days') -%}
    {%- set query -%}
    select {{ days['column'] }}, count(*)
    from {{ ref(counted) }}
    where {{ days['column'] }} in (select {{ days['column'] }} from {{ ref(days['model']) }})
    group by all order by all
    {%- endset -%}
    {{ return(ranges(days['column'], find_bounds('date', query, size))) }}
{% endmacro %}

{#- Where to part the values that a query gives in their order, with their counts, so that each part has about `size`. -#}
{% macro find_bounds(type, query, size) %}
    {%- set bounds, gathered = [], namespace(count=0) -%}
    {%- for value, count in run_query(query).rows -%}
        {%- if gathered.count >= size -%}
            {%- do bounds.append(type ~ " '" ~ value.isoformat() ~ "'") -%}
            {%- set gathered.count = 0 -%}
        {%- endif -%}
        {%- set gathered.count = gathered.count + count -%}
    {%- endfor -%}
    {{ return(bounds) }}
{% endmacro %}

{#- Conditions that part the values of a column at bounds. -#}
{% macro ranges(column, bounds) %}
    {%- set conditions = [] -%}
    {%- for start in [none] + bounds -%}
        {%- set sides = [] -%}
        {%- if start -%}{%- do sides.append(column ~ ' >= ' ~ start) -%}{%- endif -%}
        {%- if not loop.last -%}{%- do sides.append(column ~ ' < ' ~ bounds[loop.index0]) -%}{%- endif -%}
        {%- do conditions.append(sides | join(' and ') or 'true') -%}
    {%- endfor -%}
    {{ return(conditions) }}
{% endmacro %}
