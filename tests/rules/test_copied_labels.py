import pytest

from rule_facts import classes, findings, head, run


@pytest.mark.parametrize(("name", "expected"), [("ids", 1), (None, 0)])
def test_copied_labels(name, expected):
    given = head(shape=[None, 12, 10])
    target = classes(shape=[12], copied_input=name)
    found = findings("copied_labels", run([given], [], [target], [0.01] * 5))
    assert len(found) == expected
    assert all(each.severity == "info" for each in found)
    assert all("ids" in str(each.evidence[0]) for each in found)
