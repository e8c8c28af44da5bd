"""One request as a client in trouble sends it: without a signature, signed long ago, or changed after it was signed."""

import datetime
import json
import sys
import urllib.error
import urllib.request

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

wanted = json.loads(sys.argv[1])
moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=wanted["age_hours"])
botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment.replace(tzinfo=None)
form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
request = AWSRequest("POST", wanted["endpoint"] + "/", form, wanted["signed"])
if wanted["is_signed"]:
    credentials = Credentials(wanted["key"], wanted["secret"])
    botocore.auth.SigV4Auth(credentials, "ec2", wanted["region"]).add_auth(request)
sent = urllib.request.Request(request.url, wanted["sent"].encode(), dict(request.headers))
try:
    answer = urllib.request.urlopen(sent)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps({"status": answer.status, "body": answer.read().decode()}))
