# Moto whose objects lie in files as well, before the request that made them is answered: after a kill it has what it acknowledged.
import datetime
import os
import sys
import urllib.parse

import moto.server as server
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

DIRECTORY = os.environ["STILLFRAME_OBJECTS"]
backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def file(bucket, key):
    return os.path.join(DIRECTORY, bucket, urllib.parse.quote(key, safe=""))


def load():
    os.makedirs(DIRECTORY, exist_ok=True)
    for bucket in os.listdir(DIRECTORY):
        backend.create_bucket(bucket, "us-east-1")
        for name in os.listdir(os.path.join(DIRECTORY, bucket)):
            path = os.path.join(DIRECTORY, bucket, name)
            if name.startswith("."):
                os.unlink(path)
                continue
            with open(path, "rb") as stored:
                made = backend.put_object(bucket, urllib.parse.unquote(name), stored.read())
            made.last_modified = datetime.datetime.fromtimestamp(os.stat(path).st_mtime, datetime.timezone.utc).replace(tzinfo=None)


def keep(bucket, key):
    os.makedirs(os.path.join(DIRECTORY, bucket), exist_ok=True)
    if not key:
        return
    path = file(bucket, key)
    found = backend.buckets[bucket].keys.get(key)
    if found is None:
        if os.path.exists(path):
            os.unlink(path)
        return
    unfinished = os.path.join(DIRECTORY, bucket, ".unfinished")
    with open(unfinished, "wb") as stored:
        stored.write(found.value)
    os.replace(unfinished, path)


def keeping(application):
    def answer(environ, start_response):
        # Nothing of the answer is sent before this has returned.
        body = list(application(environ, start_response))
        if environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
            bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
            assert key or environ["REQUEST_METHOD"] == "PUT", "many objects in one request are not kept"
            keep(bucket, key)
        return body

    return answer


load()
serve = server.run_simple
# Without threads: with them it looks before it writes, and of concurrent conditional writers two may win.
server.run_simple = lambda host, port, application, **options: serve(host, port, keeping(application), **{**options, "threaded": False})
server.main(sys.argv[1:])
