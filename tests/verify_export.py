#!/usr/bin/env python3
"""Checks an export of Privet's log without Privet: verify_export.py EXPORT VERIFIER_KEY

Recomputes the root as RFC 6962 section 2.1 defines it, by recursion over all leaves, and checks the Ed25519 signature of
the checkpoint (https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint). Needs the package "cryptography".
Prints "ok <size> <root>" and exits with 0, or says what is wrong and exits with 1. It reads whole exports (from entry 0)
and looks at leaves only; `privet audit verify` also follows the tenant's entries, key changes and retention.
"""

import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(data):
    return hashlib.sha256(data).digest()


def decode(text):
    return base64.b64decode(text, validate=True)


def root(hashes, start, end):
    """MTH(D[n]) over leaf hashes."""
    if end == start:
        return sha256(b"")
    if end - start == 1:
        return hashes[start]
    k = 1
    while k * 2 < end - start:
        k *= 2
    return sha256(b"\x01" + root(hashes, start, start + k) + root(hashes, start + k, end))


def open_checkpoint(note, verifier_key):
    """The size and root of a checkpoint that the key has signed."""
    name, key_id, key = verifier_key.split("+", 2)
    key = decode(key)
    if key[:1] != b"\x01" or sha256(name.encode() + b"\n" + key)[:4].hex() != key_id:
        raise ValueError("not an Ed25519 verifier key")
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        signature = decode(signature)
        if dash == "\u2014" and signer == name and signature[:4].hex() == key_id:
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
            origin, size, root_hash = text.splitlines()[:3]
            if origin != name:
                raise ValueError("the checkpoint is of another log")
            return int(size), decode(root_hash)
    raise ValueError("the checkpoint is not signed by this key")


def read(lines):
    """The head and the leaf hashes of an export."""
    head, hashes = None, []
    for number, line in enumerate(lines, 1):
        body, end = line.rsplit(b',"sum":"', 1)
        if end != hashlib.sha256(body).hexdigest()[:8].encode() + b'"}\n':
            raise ValueError(f"line {number} was changed")
        line = json.loads(line)
        if number == 1:
            head = line
        elif "index" in line:
            if line["index"] != len(hashes):
                raise ValueError(f"line {number}: entry {len(hashes)} should come here")
            hashes.append(sha256(b"\x00" + decode(line["raw"])) if "raw" in line else decode(line["leaf_hash"]))
    if head is None or head["format"] != "privet-export-v1" or head["start"] != 0:
        raise ValueError("not an export from entry 0")
    return head, hashes


def main(path, verifier_key):
    with open(path, "rb") as lines:
        head, hashes = read(lines)
    size, signed = open_checkpoint(head["checkpoint"], verifier_key)
    if size != len(hashes) or size != head["end"]:
        raise ValueError(f"{len(hashes)} entries, and the checkpoint is of {size}")
    if root(hashes, 0, size) != signed:
        raise ValueError("the root of the entries is not the one that was signed")
    print("ok", size, base64.b64encode(signed).decode())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, KeyError, TypeError, OSError, InvalidSignature) as error:
        sys.exit(f"not verified: {error!r}")
