"""Make the bucket where it is not there yet, and describe it; safe to run at any time."""

from __future__ import annotations

import secrets

import msgspec

from sluice import errors
from sluice.settings import Settings
from sluice.stores.influxdb import points, store
from sluice.stores.influxdb.bucket import Bucket, Deadline
from sluice.stores.influxdb.store import META_NS, VERSION, Meta

SECONDS = 30.0
DAY = 86_400
# An event may be a day ahead when it comes, and is shown for an hour after its age.
MORE_DAYS = 2
HOW = (
    "influx bucket create --name {name} --org {org} --retention {days}, or on InfluxDB 1.x CREATE DATABASE with the name before"
    " the slash; InfluxDB 3 has neither buckets nor Flux, and cannot be used"
)


def migrate(settings: Settings) -> list[str]:
    """Bring the bucket up to date; what was done. Raises StoreUnavailable, and SettingsError when a person has to act."""
    bucket, done = Bucket(settings, 1), []
    try:
        days = settings.retention_days and settings.retention_days + MORE_DAYS
        kept = bucket.keeps(Deadline(SECONDS))
        if kept is None:
            if not bucket.make((days or 0) * DAY, Deadline(SECONDS)):
                how = HOW.format(name=bucket.name, org=settings.influxdb_org, days=f"{days}d" if days else "0")
                raise errors.SettingsError([f"INFLUXDB_BUCKET {bucket.name} is not there, and this token may not make it: {how}"])
            done.append(f"bucket {bucket.name}")
        elif kept and (days is None or kept < days * DAY):
            wanted = f"at least {days} days, two more than RETENTION_DAYS" if days else "for ever, or set RETENTION_DAYS"
            problem = f"INFLUXDB_BUCKET {bucket.name} removes points after {kept / DAY:g} days; let it keep them {wanted}"
            raise errors.SettingsError([problem])
        if store.meta_of(bucket, Deadline(SECONDS)) is None:
            meta = msgspec.json.encode(Meta(VERSION, secrets.token_bytes(32))).decode()
            bucket.write([points.line(points.META, {}, {"meta": meta}, META_NS)], Deadline(SECONDS))
            done.append("its description")
    except errors.RecordsRefused as error:
        raise errors.StoreUnavailable("database_error") from error
    finally:
        bucket.close()
    return done
