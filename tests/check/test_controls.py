"""What repeat says of a second thing that nobody promised to prevent, and of a second effect."""

import pytest
from apps.catalogue import BY_NAME
from test_faults import checked, told


@pytest.mark.parametrize(
    ("name", "severity", "words"),
    [
        ("python_create_twice", "MEDIUM", "made a second thing with an identifier of its own"),
        ("python_request_counter", "HIGH", "took effect twice"),
    ],
)
def test_a_second_effect_is_worse_than_a_second_thing_that_a_post_may_make(name, severity, words, tmp_path):
    report = checked(BY_NAME[name], tmp_path, schedules=("repeat",))
    assert [(found.kind, found.severity) for found in report.findings] == [("unsafe-repeat", severity)], told(report)
    assert words in report.findings[0].evidence[0]
