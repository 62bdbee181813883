"""What both Python consumers know of the tables."""

# The server fills it in.
DEFAULTED = {"received_at"}
# Which one it is does not matter here: two contents of one id are not told apart.
NO_HASH = b"\0" * 16
CONVERSIONS_DAY = "0001-01-01"


def columns_of(connection, table):
    found = connection.execute(
        "select column_name from information_schema.columns where table_name = %s order by ordinal_position", [table]
    )
    columns = [name for (name,) in found if name not in DEFAULTED]
    KNOWN.update(columns)
    connection.commit()
    return columns


KNOWN = set()


def row(event, envelope, dumps):
    """The table that an event belongs to, and its values by column: blanks are NULL, unknown fields go to `extra`."""
    values, extra = {}, {}
    for name, value in event.items():
        if name not in KNOWN:
            extra[name] = value
        elif value != "":
            values[name] = value
    values.setdefault("network_id", envelope["network_id"])
    values["record_id"] = values.get("tune_event_id") or values["event_id"]
    values["event_day"] = values["date"]
    values["content_hash"] = NO_HASH
    values["dispatch_timestamp"] = envelope["dispatch_timestamp"]
    if extra:
        values["extra"] = dumps(extra)
    if values.get("adjust_action") == "update":
        return "adjustments", values
    is_conversion = values["action"] == "conversion"
    values["partition_day"] = CONVERSIONS_DAY if is_conversion else values["date"]
    return "events", values
