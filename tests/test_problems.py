"""What is told of failures: addresses masked, and nothing that acts."""

import io
import json
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.classify import COLUMNS, write_row
from flows.problems import ActionableError, mask_addresses


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Could not convert string 'ann@mail.example' to INT32", "Could not convert string '<address>' to INT32"),
        ("recipient=ann+x@mail.example, <bob@mail.example>:", "recipient=<address>, <<address>>:"),
        ("a@b c@d\ne@f", "<address> <address>\n<address>"),
        ("no address here", "no address here"),
    ],
)
def test_addresses_are_masked(text: str, masked: str) -> None:
    assert mask_addresses(text) == masked


def test_masking_takes_time_by_the_length_alone() -> None:
    started = time.process_time()
    assert mask_addresses("x" * 1_000_000 + " @") == "x" * 1_000_000 + " <address>"
    assert time.process_time() - started < 5


@hypothesis_settings(deadline=None)
@given(st.text(), st.text(alphabet=st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=10))
def test_no_address_gets_through(text: str, name: str) -> None:
    assert "@" not in mask_addresses(f"{text}{name}@{name}{text}")


def test_an_error_travels_between_processes_with_its_details() -> None:
    error = pickle.loads(pickle.dumps(ActionableError("cause", "remedy", "details")))
    assert (error.cause, error.remedy, error.details, str(error)) == ("cause", "remedy", "details", "cause\nremedy")


@hypothesis_settings(deadline=None)
@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.sampled_from(["\x9b31m", "\u202e", "\U000e0041"])
)
def test_json_lines_are_the_same_text_and_hold_nothing_that_acts(text: str) -> None:
    written = io.BytesIO()
    write_row(written, {"bounce_text": text}, COLUMNS, "jsonl")
    line = written.getvalue().decode()
    assert json.loads(line) == {"bounce_text": text}
    assert line.removesuffix("\n").isprintable()
