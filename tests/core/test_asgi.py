from fungible.core.asgi import list_members


def test_a_list_field_is_read_by_members_over_all_its_lines():
    headers = [(b"Vary", b"Accept ,, X-Cookie-Consent"), (b"x", b"cookie"), (b"vary", b"\tAccept-Language")]
    assert list_members(headers, b"vary") == ["accept", "x-cookie-consent", "accept-language"]


def test_a_list_field_that_is_absent_or_empty_has_no_members():
    assert list_members([], b"vary") == []
    assert list_members([(b"vary", b" , ")], b"vary") == []
