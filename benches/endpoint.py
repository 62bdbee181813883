"""The local SQS endpoint, `hydrant stand-in`, and a client for it that is quicker than an SDK: nothing is signed."""

import atexit
import http.client
import json
import subprocess

from postgres import free_port

# A batch holds at most ten messages, and at most 1 MiB of them.
BATCH_BYTES = 1_000_000


class Queue:
    def __init__(self, hydrant):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [hydrant, "stand-in", "--listen", f"127.0.0.1:{self.port}", "--queue", "bench"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        atexit.register(self.stop)
        self.process.stdout.readline()
        self.url = self.process.stdout.readline().split('"')[1]
        self.pid = self.process.pid
        self.http = http.client.HTTPConnection("127.0.0.1", self.port)

    def call(self, operation, **arguments):
        arguments["QueueUrl"] = self.url
        headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        self.http.request("POST", "/", json.dumps(arguments), headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{operation} failed: {text.decode()}")
        return json.loads(text)

    def fill(self, bodies):
        for batch in batches(bodies):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(batch)]
            answer = self.call("SendMessageBatch", Entries=entries)
            if len(answer["Successful"]) != len(entries):
                raise SystemExit(f"messages were refused: {answer['Failed'][0]}")

    def counts(self):
        """Messages that wait, and messages in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.call("GetQueueAttributes", AttributeNames=names)["Attributes"]
        return tuple(int(attributes[name]) for name in names)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def batches(bodies):
    batch, size = [], 0
    for body in bodies:
        if batch and (len(batch) == 10 or size + len(body) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch
