"""A throw-away PostgreSQL: fsync on, everything as initdb leaves it but for SETTINGS."""

import atexit
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile

import psycopg


# What every server that is written to gets, and what the README asks for: with the defaults of 128 MB and 1 GB the indexes of
# ten million rows do not stay in memory, and each of their pages goes into the log as a whole every few seconds.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def programs():
    """The folder of initdb and pg_ctl."""
    if found := shutil.which("initdb"):
        return os.path.dirname(os.path.realpath(found))
    installed = glob.glob("/usr/lib/postgresql/*/bin")
    if not installed:
        raise SystemExit("PostgreSQL is not installed: there is no initdb on the PATH")
    return max(installed, key=lambda folder: int(folder.split("/")[-2]))


class Postgres:
    """The server refuses to run as root: then it runs as the user postgres."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hydrant-bench-")
        self.data = os.path.join(self.folder, "data")
        self.files = os.path.join(self.folder, "files")
        self.consumer_log = os.path.join(self.folder, "consumer.log")
        self.port = free_port()
        self.user = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            self.user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        for folder in [self.folder, self.data, self.files]:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if self.user:
                os.chown(folder, self.user["user"], self.user["group"])
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data}"
        options += "".join(f" -c {name}={value}" for name, value in SETTINGS.items())
        self.run("pg_ctl", "-D", self.data, "-w", "-o", options, "-l", os.path.join(self.data, "log"), "start")
        atexit.register(self.stop)
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            self.pid = int(file.readline())

    def run(self, program, *args):
        command = [os.path.join(programs(), program), *args]
        done = subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **self.user)
        if done.returncode:
            raise SystemExit(f"{program} failed: {done.stderr.strip()}")

    def url(self, database):
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def connect(self, database="postgres"):
        return psycopg.connect(self.url(database), autocommit=True)

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")
        shutil.rmtree(self.folder)
