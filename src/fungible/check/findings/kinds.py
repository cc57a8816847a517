"""What each kind of finding is: one entry a kind, which reports, `fungible explain` and the reference all read."""

from typing import Final

from msgspec import Struct

from fungible.check.model import Kind, Severity


class About(Struct, frozen=True, kw_only=True):
    """One kind. `what` says what users and operators notice, `fix` the way out whatever the framework."""

    severity: Severity
    title: str
    what: str
    fix: str


KINDS: Final[dict[Kind, About]] = {
    "session": About(
        severity="BREAKING",
        title="A sign-in is known to one instance only",
        what="Visitors are signed out, or lose what they had begun, whenever the load balancer picks another instance,"
        " and all of them at every deployment.",
        fix="Keep sessions in a store that all instances share (Redis, a database), or put the whole session into a "
        "signed or encrypted cookie under one shared key. Not in process memory, not in files on the instance.",
    ),
    "data-on-local-disk": About(
        severity="BREAKING",
        title="Data is written to an instance's own disk",
        what="Each instance has its own copy of the data: what one visitor saves, the next one does not see, and it is"
        " gone when the instance is replaced.",
        fix="Keep the data in a database server that all instances reach (PostgreSQL, MySQL), not in SQLite or files "
        "beside the application. If production mounts one volume on all instances, declare it: `shared` in the "
        "check file.",
    ),
    "upload": About(
        severity="BREAKING",
        title="An uploaded file exists on one instance only",
        what="The file is found only while requests happen to reach the instance that took it, and it is lost when "
        "that instance is replaced.",
        fix="Write uploads to object storage (S3 or compatible) and serve them from there, or through signed URLs. "
        "The instance's disk is for temporary files only.",
    ),
    "in-process-data": About(
        severity="BREAKING",
        title="Data lives in the memory of one process",
        what="Other instances, and this one after a restart, do not have what was stored: lists come back short and "
        "records seem to vanish at random.",
        fix="Move the data from global variables into a database or a shared store such as Redis, and read it there "
        "on each request. A copy loaded at start is a cache: give it a lifetime or an invalidation.",
    ),
    "per-instance-secret": About(
        severity="BREAKING",
        title="Each instance draws its own secret",
        what="What one instance signs or encrypts, another refuses: cookies, CSRF tokens and links in mails fail at "
        "random, and all of them after every restart.",
        fix="Read the secret from the environment or a mounted secret, the same on all instances; never draw it at "
        "start. To rotate, accept the old key for a while next to the new one.",
    ),
    "revived-session": About(
        severity="BREAKING",
        title="A revoked sign-in is still accepted elsewhere",
        what="Somebody who signed out, changed a password or was locked out is still let in elsewhere: a stolen "
        "session can not be ended.",
        fix="Check on every request, in the shared store, that the session still exists, and delete it there at "
        "sign-out; an instance that keeps its own copy of a session, password or permission must be told. A "
        "self-contained token needs a short life and a shared list of revoked IDs; a request that began before the "
        "sign-out must not write the session back.",
    ),
    "rate-limit": About(
        severity="BREAKING",
        title="A limit is counted on each instance separately",
        what="With N instances an attacker gets N times the attempts, and a restart gives them all back.",
        fix="Count attempts in one store for all instances: an atomic `INCR` with an expiry in Redis, or a row in the"
        " database. Or limit at the gateway, if there is only one.",
    ),
    "job-progress": About(
        severity="HIGH",
        title="A job is known only to the instance that runs it",
        what="Asking for a job's progress or result fails on every instance but one, and the job is lost without a "
        "trace when that one is replaced.",
        fix="Put jobs on a shared queue, and write status, progress and result to a database or Redis under the job's"
        " ID; any instance can then answer for any job.",
    ),
    "unsafe-repeat": About(
        severity="HIGH",
        title="A repeated request takes effect twice",
        what="Clients, proxies and queues repeat requests after a lost answer: each repeat is one more order, payment "
        "or mail.",
        fix="Accept an `Idempotency-Key` header: store key and answer in the same transaction as the effect, and send"
        " the stored answer to a repeat. Where the data has a natural key, a unique constraint does the same.",
    ),
    "lost-update": About(
        severity="HIGH",
        title="Of two changes at the same moment, one is lost",
        what="Two requests of one visitor, in two tabs or on a double click, both answer with success, and the effect "
        "of one of them is gone.",
        fix="Write only if nothing changed since the read: a version column in the `WHERE` clause, or an ETag with "
        "`If-Match`; else lock the row with `SELECT … FOR UPDATE`, or let the database count (`SET n = n + 1`). "
        "In sessions, write only the fields that changed, not the whole session.",
    ),
    "drops-requests": About(
        severity="HIGH",
        title="Requests under way are dropped at shutdown",
        what="Every deployment and every scaling down shows errors to visitors, and leaves work half done.",
        fix="On SIGTERM stop accepting, finish the requests under way, then exit. Start the server with `exec`, so "
        "that the signal does not end at a shell, and give the load balancer a few seconds to notice first (a "
        "`preStop` sleep in Kubernetes).",
    ),
    "oversized-cookie": About(
        severity="HIGH",
        title="A cookie is too large for browsers or proxies",
        what="Browsers discard a cookie above 4096 bytes without a word, and proxies answer 400, 431 or 502 to headers"
        " that are too long.",
        fix="Keep only an identifier in the cookie and the data in a shared store. Stay below 4096 bytes for name, "
        "value and attributes together.",
    ),
    "cache": About(
        severity="MEDIUM",
        title="A cached value is stale on other instances",
        what="For as long as the entry lives, visitors see the old or the new value depending on the instance that "
        "answers.",
        fix="Use one cache for all instances (Redis, Memcached) and delete the entry when the value is written; or "
        "state how old a value may be and keep the lifetime below that.",
    ),
    "validator": About(
        severity="MEDIUM",
        title="Each instance has its own ETag for the same content",
        what="What a client has already is sent to it again whenever another instance answers, so caches and saved "
        "bandwidth are lost; a write with `If-Match` is refused though nobody else has written.",
        fix="Make the ETag from the content (a hash), or from a version kept with the data, not from times of change, "
        "inode numbers or a process's own counter. Where a file server makes it from times, give files the same times "
        "on every instance: keep them when copying (`cp -p`, `rsync -t`) or set them in the image's build.",
    ),
    "sticky-cookie": About(
        severity="MEDIUM",
        title="A cookie ties the visitor to one instance",
        what="Load stays uneven, and when that instance goes, its visitors lose what was kept there: affinity hides "
        "state instead of removing it.",
        fix="Stop naming the instance in a cookie and switch session affinity off at the load balancer. What then "
        "fails is the state that the affinity was hiding: move that first.",
    ),
}
