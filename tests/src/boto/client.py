"""Calls of EC2 through Amazon's own client: one JSON object a line on standard input, one answer a line on standard output."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

clients = {}


def client(options):
    key = json.dumps(options, sort_keys=True)
    if key not in clients:
        once = Config(retries={"max_attempts": 0}, read_timeout=20)
        clients[key] = boto3.client(options.pop("service", "ec2"), config=once, **options)
    return clients[key]


for line in sys.stdin:
    call = json.loads(line)
    try:
        answer = {"answer": getattr(client(call["options"]), call["method"])(**call["parameters"])}
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        answer = {"code": error.response["Error"]["Code"], "status": status}
    except HTTPClientError as error:
        answer = {"code": "no answer", "status": 0, "reason": str(error)}
    print(json.dumps(answer, default=str), flush=True)
