"""Guards the one rule by which sources that can give any part give one, or all."""

import pytest

from damselfly.core.task import Validators
from damselfly.errors import SourceRefusedError
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.sources.chunks import answer_for

THIS, OTHER = Validators(etag='"1"'), Validators(etag='"2"')
TOLD = SourceAnswer(status=200, size_bytes=10, stop_byte=10, validators=THIS, accepts_ranges=True)


def asked(start: int, stop: int | None, validators: Validators = THIS) -> tuple[int, int, int]:
    answer = answer_for(TOLD, start_byte=start, stop_byte=stop, validators=validators, url="u")
    assert answer.stop_byte is not None
    return answer.status, answer.start_byte, answer.stop_byte


def test_a_part_of_this_version_is_a_part_and_ends_where_the_content_ends() -> None:
    assert asked(2, 5) == (206, 2, 5)
    assert asked(2, None) == (206, 2, 10)
    assert asked(2, 99, Validators()) == (206, 2, 10)


def test_a_part_of_another_version_and_no_part_are_the_whole() -> None:
    assert asked(2, 5, OTHER) == (200, 0, 10)
    assert asked(0, None) == (200, 0, 10)


def test_a_part_beyond_the_end_is_refused() -> None:
    with pytest.raises(SourceRefusedError) as caught:
        asked(10, None)

    assert caught.value.status == 416
