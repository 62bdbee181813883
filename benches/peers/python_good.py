"""The best that a good Python developer would write: orjson, isal, fifty messages a transaction, COPY into a temporary
table and a merge, four threads with a connection each.

It stores the same rows as Hydrant, without its checks, its fold of adjustments and its quarantine.
"""

import base64
import os
import threading

import boto3
import orjson
import psycopg
from isal import igzip

from rows import columns_of, row

THREADS = 4
MESSAGES = 50
QUEUE_URL = os.environ["QUEUE_URL"]

# What COPY's text form wants escaped.
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def text(value):
    """A value as COPY's text form has it."""
    if value is None:
        return "\\N"
    if value.__class__ is str:
        return value if value.isalnum() else value.translate(ESCAPES)
    if value.__class__ is bytes:
        return "\\\\x" + value.hex()
    return str(value)


def dumps(value):
    return orjson.dumps(value).decode()


def receive(sqs):
    """Up to MESSAGES messages: it waits for the first ones alone."""
    messages = []
    while len(messages) < MESSAGES:
        wait = 0 if messages else 20
        answer = sqs.receive_message(QueueUrl=QUEUE_URL, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
        more = answer.get("Messages", [])
        messages += more
        if len(more) < 10:
            break
    return messages


def merge(cursor, table, rows):
    # The columns that occur: most of a row is NULL.
    columns = sorted(set().union(*rows))
    # In one order for all threads, so that they do not wait for each other in a circle.
    rows.sort(key=lambda values: (str(values.get("partition_day")), values["network_id"], values["event_id"]))
    names = ", ".join(columns)
    cursor.execute(f"truncate staged_{table}")
    with cursor.copy(f"copy staged_{table} ({names}) from stdin") as copy:
        lines = ["\t".join([text(values.get(column)) for column in columns]) for values in rows]
        copy.write("\n".join(lines) + "\n")
    cursor.execute(f"insert into {table} ({names}) select {names} from staged_{table} on conflict do nothing")


def work():
    sqs = boto3.session.Session().client("sqs", endpoint_url=os.environ["ENDPOINT_URL"])
    connection = psycopg.connect(os.environ["DATABASE_URL"])
    for table in ["events", "adjustments"]:
        columns_of(connection, table)
        connection.execute(f"create temporary table staged_{table} as select * from {table} limit 0")
    connection.commit()
    while True:
        messages = receive(sqs)
        if not messages:
            continue
        rows = {"events": [], "adjustments": []}
        for message in messages:
            envelope = orjson.loads(igzip.decompress(base64.b64decode(message["Body"])))
            for event in envelope["data"]:
                table, values = row(event, envelope, dumps)
                rows[table].append(values)
        with connection.cursor() as cursor:
            for table, of_table in rows.items():
                if of_table:
                    merge(cursor, table, of_table)
        connection.commit()
        for start in range(0, len(messages), 10):
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages[start : start + 10])]
            sqs.delete_message_batch(QueueUrl=QUEUE_URL, Entries=entries)


threads = [threading.Thread(target=work) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
