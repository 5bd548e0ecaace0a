#!/usr/bin/env python3
"""Seals an e-mail address, has it proved that this is on record, opens it again, and is refused a tax id: Privet from
Python, over mutual TLS.

    cargo run --release -- dev                                          # in another terminal
    pip install grpcio grpcio-tools googleapis-common-protos
    python3 tests/clients/client.py .privet-dev

Exits 0 only if all of it went as it should.
"""
import base64
import hashlib
import importlib
import pathlib
import sys
import tempfile

import grpc
import grpc_tools
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc

EMAIL, TAX_ID = "pii/account/email", "pii/billing/tax_id"
PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def generate(out):
    """Compiles proto/privet/v1 into the directory `out`; returns messages and stubs, of encryption and of audit."""
    well_known = pathlib.Path(grpc_tools.__file__).with_name("_proto")
    sources = [str(path) for path in sorted((PROTO / "privet/v1").glob("*.proto"))]
    if protoc.main(["", f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}", *sources]):
        sys.exit("the proto files do not compile")
    sys.path.insert(0, out)
    modules = ["encryption_pb2", "encryption_pb2_grpc", "audit_pb2", "audit_pb2_grpc"]
    return [importlib.import_module(f"privet.v1.{module}") for module in modules]


def connect(directory, identity):
    """Opens a channel on which the server knows us by our certificate, and we know the server by the CA."""
    own = directory / "identities" / identity
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(directory / "ca.pem").read_bytes(),
        private_key=(own / "key.pem").read_bytes(),
        certificate_chain=(own / "cert.pem").read_bytes(),
    )
    return grpc.secure_channel((directory / "address").read_text().strip(), credentials)


def reason(error):
    """Why a call failed, for machines: the google.rpc.ErrorInfo among its details."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    found = any(detail.Unpack(info) for detail in status_pb2.Status.FromString(details).details)
    return f"{info.domain} {info.reason}" if found else sys.exit("a refusal without its reason")


def root(leaf, index, size, siblings):
    """The root that an inclusion proof leads to (RFC 9162 section 2.1.3.2)."""
    node, last = leaf, size - 1
    for sibling in siblings:
        if index & 1 or index == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


def main(directory):
    with tempfile.TemporaryDirectory() as out:
        messages, stubs, audit, audit_stubs = generate(out)

    def prove(identity, receipt):
        """Any caller can have it proved that the log has what a receipt says. (tests/verify_export.py checks signatures.)"""
        asked = {"leaf_hash": receipt.leaf_hash, "index_hint": receipt.entry_index}
        request = audit.GetInclusionProofRequest(tenant="acme", **asked)
        with connect(directory, identity) as channel:
            proof = audit_stubs.AuditServiceStub(channel).GetInclusionProof(request, timeout=10)
        origin, size, signed = proof.checkpoint.splitlines()[:3]
        computed = root(receipt.leaf_hash, receipt.entry_index, int(size), proof.hashes)
        if origin != receipt.origin or computed != base64.b64decode(signed):
            sys.exit(f"entry {receipt.entry_index} is not proved")
        print(f"  proved: entry {receipt.entry_index} is in the log {origin} of {size} entries")

    def call(identity, method, request):
        with connect(directory, identity) as channel:
            answer = getattr(stubs.EncryptionServiceStub(channel), method)(request, timeout=10)
        [field], [receipt] = answer.fields, answer.receipts
        if field.HasField("error"):
            sys.exit(f"{method}: {field.error.message}")
        print(f"{identity}: {method} is entry {receipt.entry_index} of the log")
        prove(identity, receipt)
        return field

    def seal(identity, purpose, kind, value):
        field = {"subject": "python-example", "class": kind, "plaintext": value.encode()}
        request = messages.EncryptRequest(tenant="acme", purpose=purpose, fields=[field])
        return call(identity, "Encrypt", request).ciphertext

    def unseal(identity, purpose, kind, ciphertext):
        field = {"subject": "python-example", "class": kind, "ciphertext": ciphertext, "form": messages.FORM_PLAINTEXT}
        request = messages.DecryptRequest(tenant="acme", purpose=purpose, fields=[field])
        return call(identity, "Decrypt", request).plaintext.decode()

    email = seal("signup-service", "signup", EMAIL, "zoe+python@example.com")
    print("  opened:", unseal("support-desk", "support-ticket", EMAIL, email))
    tax_id = seal("billing-service", "invoicing", TAX_ID, "TEST-TAX-000000001")
    try:
        unseal("support-desk", "support-ticket", TAX_ID, tax_id)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
            raise
        print(f"support-desk: {error.code().name} ({reason(error)}): {error.details()}")
    else:
        sys.exit("support-desk could open a tax id")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) == 2 else ".privet-dev"))
