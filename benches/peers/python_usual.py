"""The consumer that one writes first: boto3, base64, gzip, json, and one INSERT an event.

It stores the same rows as Hydrant, without its checks, its fold of adjustments and its quarantine.
"""

import base64
import gzip
import json
import os

import boto3
import psycopg

from rows import columns_of, row

sqs = boto3.client("sqs", endpoint_url=os.environ["ENDPOINT_URL"])
queue_url = os.environ["QUEUE_URL"]
connection = psycopg.connect(os.environ["DATABASE_URL"])


def insert(table, columns):
    places = ", ".join(["%s"] * len(columns))
    return f"insert into {table} ({', '.join(columns)}) values ({places}) on conflict do nothing"


columns = {table: columns_of(connection, table) for table in ["events", "adjustments"]}
statements = {table: insert(table, columns[table]) for table in columns}

while True:
    answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
    messages = answer.get("Messages", [])
    if not messages:
        continue
    rows = {"events": [], "adjustments": []}
    for message in messages:
        envelope = json.loads(gzip.decompress(base64.b64decode(message["Body"])))
        for event in envelope["data"]:
            table, values = row(event, envelope, json.dumps)
            rows[table].append([values.get(column) for column in columns[table]])
    with connection.cursor() as cursor:
        for table, statement in statements.items():
            if rows[table]:
                cursor.executemany(statement, rows[table])
    connection.commit()
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
    sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)
