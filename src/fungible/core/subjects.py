"""Who is signed in: a subject, as sessions and tokens name one."""


def check_subject(subject: object) -> None:
    """Refuses a subject that is no text: where it is given, as a record that held it could not be read any more.

    Raises:
        TypeError: it is neither a string nor None.
        UnicodeEncodeError: it holds half of a surrogate pair.
    >>> check_subject("ada")
    >>> check_subject(5)
    Traceback (most recent call last):
        ...
    TypeError: a subject is a string, not 'int': str(5), for instance
    """
    if subject is None:
        return
    if not isinstance(subject, str):
        raise TypeError(f"a subject is a string, not {type(subject).__name__!r}: str({subject!r}), for instance")
    subject.encode()
