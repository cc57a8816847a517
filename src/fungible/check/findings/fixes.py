"""What each kind of finding means and what mends it: one table a question, in the words of the framework."""

from typing import Final

from fungible.check.findings.framework_fixes import FRAMEWORK_FIXES
from fungible.check.findings.protocols import PROTOCOL_FIXES
from fungible.check.model import Kind, Severity

SEVERITY: Final[dict[Kind, Severity]] = {
    "session": "BREAKING",
    "data-on-local-disk": "BREAKING",
    "upload": "BREAKING",
    "in-process-data": "BREAKING",
    "per-instance-secret": "BREAKING",
    "revived-session": "BREAKING",
    "rate-limit": "BREAKING",
    "job-progress": "HIGH",
    "unsafe-repeat": "HIGH",
    "lost-update": "HIGH",
    "drops-requests": "HIGH",
    "oversized-cookie": "HIGH",
    "cache": "MEDIUM",
    "validator": "MEDIUM",
    "sticky-cookie": "MEDIUM",
}

TITLE: Final[dict[Kind, str]] = {
    "session": "A sign-in is known to one instance only",
    "data-on-local-disk": "Data is written to an instance's own disk",
    "upload": "An uploaded file exists on one instance only",
    "in-process-data": "Data lives in the memory of one process",
    "per-instance-secret": "Each instance draws its own secret",
    "revived-session": "A revoked sign-in is still accepted elsewhere",
    "rate-limit": "A limit is counted on each instance separately",
    "job-progress": "A job is known only to the instance that runs it",
    "unsafe-repeat": "A repeated request takes effect twice",
    "lost-update": "Of two changes at the same moment, one is lost",
    "drops-requests": "Requests under way are dropped at shutdown",
    "oversized-cookie": "A cookie is too large for browsers or proxies",
    "cache": "A cached value is stale on other instances",
    "validator": "Each instance has its own ETag for the same content",
    "sticky-cookie": "A cookie ties the visitor to one instance",
}

WHAT: Final[dict[Kind, str]] = {
    "session": "Visitors are signed out, or lose what they had begun, whenever the load balancer picks another "
    "instance, and all of them at every deployment.",
    "data-on-local-disk": "Each instance has its own copy of the data: what one visitor saves, the next one does not "
    "see, and it is gone when the instance is replaced.",
    "upload": "The file is found only while requests happen to reach the instance that took it, and it is lost when "
    "that instance is replaced.",
    "in-process-data": "Other instances, and this one after a restart, do not have what was stored: lists come back "
    "short and records seem to vanish at random.",
    "per-instance-secret": "What one instance signs or encrypts, another refuses: cookies, CSRF tokens and links in "
    "mails fail at random, and all of them after every restart.",
    "revived-session": "Somebody who signed out, changed a password or was locked out is still let in elsewhere: a "
    "stolen session can not be ended.",
    "rate-limit": "With N instances an attacker gets N times the attempts, and a restart gives them all back.",
    "job-progress": "Asking for a job's progress or result fails on every instance but one, and the job is lost "
    "without a trace when that one is replaced.",
    "unsafe-repeat": "Clients, proxies and queues repeat requests after a lost answer: each repeat is one more order, "
    "payment or mail.",
    "lost-update": "Two requests of one visitor, in two tabs or on a double click, both answer with success, and the "
    "effect of one of them is gone.",
    "drops-requests": "Every deployment and every scaling down shows errors to visitors, and leaves work half done.",
    "oversized-cookie": "Browsers discard a cookie above 4096 bytes without a word, and proxies answer 400, 431 or "
    "502 to headers that are too long.",
    "cache": "For as long as the entry lives, visitors see the old or the new value depending on the instance that "
    "answers.",
    "validator": "What a client has already is sent to it again whenever another instance answers, so caches and saved "
    "bandwidth are lost; a write with `If-Match` is refused though nobody else has written.",
    "sticky-cookie": "Load stays uneven, and when that instance goes, its visitors lose what was kept there: affinity "
    "hides state instead of removing it.",
}

_GENERAL: Final[dict[Kind, str]] = {
    "session": "Keep sessions in a store that all instances share (Redis, a database), or put the whole session into "
    "a signed or encrypted cookie under one shared key. Not in process memory, not in files on the instance.",
    "data-on-local-disk": "Keep the data in a database server that all instances reach (PostgreSQL, MySQL), not in "
    "SQLite or files beside the application. If production mounts one volume on all instances, declare it: "
    "`shared` in the check file.",
    "upload": "Write uploads to object storage (S3 or compatible) and serve them from there, or through signed URLs. "
    "The instance's disk is for temporary files only.",
    "in-process-data": "Move the data from global variables into a database or a shared store such as Redis, and read "
    "it there on each request. A copy loaded at start is a cache: give it a lifetime or an invalidation.",
    "per-instance-secret": "Read the secret from the environment or a mounted secret, the same on all instances; "
    "never draw it at start. To rotate, accept the old key for a while next to the new one.",
    "revived-session": "Check on every request, in the shared store, that the session still exists, and delete it "
    "there at sign-out; an instance that keeps its own copy of a session, password or permission must be told. A "
    "self-contained token needs a short life and a shared list of revoked IDs; a request that began before the sign-out "
    "must not write the session back.",
    "rate-limit": "Count attempts in one store for all instances: an atomic `INCR` with an expiry in Redis, or a row "
    "in the database. Or limit at the gateway, if there is only one.",
    "job-progress": "Put jobs on a shared queue, and write status, progress and result to a database or Redis under "
    "the job's ID; any instance can then answer for any job.",
    "unsafe-repeat": "Accept an `Idempotency-Key` header: store key and answer in the same transaction as the effect, "
    "and send the stored answer to a repeat. Where the data has a natural key, a unique constraint does the same.",
    "lost-update": "Write only if nothing changed since the read: a version column in the `WHERE` clause, or an ETag "
    "with `If-Match`; else lock the row with `SELECT … FOR UPDATE`, or let the database count (`SET n = n + 1`). "
    "In sessions, write only the fields that changed, not the whole session.",
    "drops-requests": "On SIGTERM stop accepting, finish the requests under way, then exit. Start the server with "
    "`exec`, so that the signal does not end at a shell, and give the load balancer a few seconds to notice first "
    "(a `preStop` sleep in Kubernetes).",
    "oversized-cookie": "Keep only an identifier in the cookie and the data in a shared store. Stay below 4096 bytes "
    "for name, value and attributes together.",
    "cache": "Use one cache for all instances (Redis, Memcached) and delete the entry when the value is written; or "
    "state how old a value may be and keep the lifetime below that.",
    "validator": "Make the ETag from the content (a hash), or from a version kept with the data, not from times of "
    "change, inode numbers or a process's own counter. Where a file server makes it from times, give files the same "
    "times on every instance: keep them when copying (`cp -p`, `rsync -t`) or set them in the image's build.",
    "sticky-cookie": "Stop naming the instance in a cookie and switch session affinity off at the load balancer. What "
    "then fails is the state that the affinity was hiding: move that first.",
}


def fix_for(kind: Kind, framework: str, protocol: str = "") -> str:
    """What mends a finding, with the names of the framework's settings where it is known.

    Args:
        kind: The kind of the finding.
        framework: As `recognise` gives it: `django`, `flask`, `fastapi`, `express`, `spring`, `servlet`, `rack`, `php`
            or empty.
        protocol: As `protocol_of` gives it for the request that broke: its own way out comes before the framework's.

    Returns:
        One to four sentences.
    """
    return PROTOCOL_FIXES.get(protocol, {}).get(kind) or FRAMEWORK_FIXES.get(framework, {}).get(kind) or _GENERAL[kind]


def docs_for(kind: Kind) -> str:
    """Where the documentation explains the kind, relative to its root."""
    return f"reference/findings#{kind}"
