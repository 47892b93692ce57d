"""Where a PostgreSQL store is: the URL of its database, what Perdure adds to it, and what of it may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from perdure.errors import Refused

SCHEMES = ("postgresql", "postgres")
REMEDY = "Write postgresql://user@host:5432/database, with ?pooled=true behind PgBouncer in transaction mode."

# What the driver takes from a URL; anything else would be sent to the server as a setting, where a typo fails late.
_DRIVERS = frozenset({
    "host", "port", "user", "password", "dbname", "database", "passfile", "sslmode", "sslcert", "sslkey", "sslrootcert",
    "sslcrl", "sslpassword", "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs",
    "application_name",
})  # fmt: skip
_TRUTH = {"true": True, "false": False}


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """`dsn` is for the driver and may hold a password; `place` is for people and never does.

    `pooled`: a pool lends a server's connection for one transaction only, so nothing may be kept in it.
    """

    dsn: str
    place: str
    pooled: bool = False


def read_address(url: str) -> Address:
    """The address in `url`. Raises Refused, which never shows a password."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise Refused(f"Expected a URL that begins with postgresql://, but got {parts.scheme or 'none'}://….", remedy=REMEDY)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    pooled = given.pop("pooled", "false")
    if pooled not in _TRUTH:
        raise Refused(f"Expected pooled=true or pooled=false in the store's URL, but got pooled={pooled}.", remedy=REMEDY)
    unknown = sorted(set(given) - _DRIVERS)
    if unknown:
        raise Refused(f"Expected no {', '.join(unknown)} in the store's URL: nothing is so called.", remedy=REMEDY)
    database = parts.path.lstrip("/") or given.get("dbname") or given.get("database")
    if not database:
        raise Refused("Expected the name of a database in the store's URL, but there is none.", remedy=REMEDY)
    user, host = _shown(parts.netloc)
    place = f"postgresql://{user}{host or given.get('host', '')}/{database}"
    dsn = f"postgresql://{parts.netloc}{parts.path}" + (f"?{urlencode(given)}" if given else "")
    return Address(dsn=dsn, place=place, pooled=_TRUTH[pooled])


def _shown(netloc: str) -> tuple[str, str]:
    """User and hosts as they may be shown."""
    credentials, at, host = netloc.rpartition("@")
    return credentials.partition(":")[0] + at, host
