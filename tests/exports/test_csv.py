import csv
import io
from datetime import UTC

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.exports.csv_file import OFTEN_THE_SAME, write_csv
from tests.exports.hostile import HOSTILE, read_csv


def write_csv_bytes(table: pa.Table, **options) -> bytes:
    target = io.BytesIO()
    write_csv(table, target, **options)
    return target.getvalue()


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.one_of(st.none(), st.text(min_size=1)), st.integers(0, 2**53)), min_size=1))
def test_plain_csv_gives_back_exactly_what_went_in(rows):
    texts, optional, numbers = zip(*rows, strict=True)
    table = pa.table({"text": texts, "optional": pa.array(optional, pa.string()), "amount": numbers})
    header, *found = read_csv(write_csv_bytes(table, excel_safe=False))
    assert header == ["text", "optional", "amount"]
    assert found == [[text, other or "", str(number)] for text, other, number in rows]


MOMENTS = st.one_of(st.datetimes(), st.datetimes().map(lambda moment: moment.replace(microsecond=0)))
VALUES = {
    pa.string(): st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("\"',;\r\n\t\0 "))),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): MOMENTS,
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
}


@hypothesis_settings(deadline=None)
@given(st.data(), st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4), st.integers(0, 5))
def test_plain_csv_is_what_the_standard_library_writes(data, kinds, rows):
    columns = [data.draw(st.lists(st.one_of(st.none(), VALUES[kind]), min_size=rows, max_size=rows)) for kind in kinds]
    names = [f'{place},"' for place in range(len(kinds))]
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
    written = io.StringIO(newline="")
    csv.writer(written).writerows([names, *zip(*columns, strict=True)])
    assert write_csv_bytes(pa.table(arrays, names), excel_safe=False) == written.getvalue().encode()


@hypothesis_settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.text(alphabet=st.sampled_from("=+-@\t\r\n ;,\"'a"))), min_size=1, max_size=5),
    st.booleans(),
)
def test_texts_that_are_often_the_same_are_written_as_if_each_stood_once(texts, is_safe):
    once, often = (
        write_csv_bytes(pa.table({"text": pa.array(texts * times, pa.string())}), excel_safe=is_safe, mark=False)
        for times in (1, 2 * OFTEN_THE_SAME)
    )
    header, records = once[:6], once[6:]
    assert header == b"text\r\n"
    assert often == header + records * (2 * OFTEN_THE_SAME)


def test_csv_is_rfc_4180():
    table = pa.table({"a": ["x,y", 'say "no"', "two\nlines", None], "n": [1, 2, 3, 4]})
    assert write_csv_bytes(table, excel_safe=False) == (b'a,n\r\n"x,y",1\r\n"say ""no""",2\r\n"two\nlines",3\r\n,4\r\n')


@pytest.mark.parametrize("text", HOSTILE[:10])
def test_safe_csv_disarms_formulas(text):
    (_, (cell,)) = read_csv(write_csv_bytes(pa.table({"text": [text]}), excel_safe=True))
    assert cell[0] == "'"
    assert cell.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize(("text", "safe"), [("x;=1+1", "x;'=1+1"), ("x\n =1+1", "x\n '=1+1"), ("a-b=c", "a-b=c")])
def test_safe_csv_disarms_what_another_list_separator_would_cut_out(text, safe):
    assert read_csv(write_csv_bytes(pa.table({"text": [text]}), excel_safe=True))[1] == [safe]


@hypothesis_settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n ;,\"'a\u00a0\u200b")))
def test_no_cell_of_a_safe_csv_begins_a_formula_however_it_is_cut(text):
    content = write_csv_bytes(pa.table({"text": [text]}), excel_safe=True).decode("utf-8-sig")
    (_, (cell,)) = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert not cell.strip(" \n\u00a0\u200b").startswith(tuple("=+-@\t\r"))
    for piece in cell.replace("\r", "\n").replace("\t", "\n").replace(";", "\n").split("\n"):
        assert not piece.strip(" \u00a0\u200b").startswith(tuple("=+-@"))


def test_safe_csv_opens_as_utf8_in_excel_and_leaves_exact_columns_alone():
    table = pa.table({"address": ["=a@b.example"], "reply": ["=1"], "amount": [-1]})
    content = write_csv_bytes(table, excel_safe=True, exact_columns=["address"])
    assert content.startswith(b"\xef\xbb\xbf")
    assert read_csv(content)[1] == ["=a@b.example", "'=1", "-1"]
    assert not write_csv_bytes(table, excel_safe=True, mark=False).startswith(b"\xef")
