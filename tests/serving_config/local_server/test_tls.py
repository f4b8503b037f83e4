"""TLS on both doors from an `ssl.config`, with certificates made for the test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tensorflow_serving.apis import prediction_service_pb2_grpc

from maf_serving.messages import message_class
from serving_config import UsageError
from serving_config.local_server.model_config import ModelConfig
from serving_config.local_server.tls import TlsConfig, read_tls_config
from tests.serving_config.local_server.support import ask, predict_request


def make_pair(name, *, signer=None):
    """Key and certificate in PEM, self-signed or signed by another pair."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer_key, issuer = (key, subject) if signer is None else signer[2:]
    now = dt.datetime.now(dt.timezone.utc)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), certificate.public_bytes(pem).decode(), key, subject


@pytest.fixture(scope="module")
def server_pair():
    return make_pair("server")


@pytest.fixture(scope="module")
def client_ca():
    return make_pair("clients")


def stub(server, ca, client=None):
    key, chain = (client[0].encode(), client[1].encode()) if client is not None else (None, None)
    channel = grpc.secure_channel(
        f"127.0.0.1:{server.server.port}", grpc.ssl_channel_credentials(ca.encode(), key, chain)
    )
    return channel, prediction_service_pb2_grpc.PredictionServiceStub(channel)


def url(server):
    return f"https://127.0.0.1:{server.server.rest_api_port}/v1/models/small"


def test_both_doors(serve, base, server_pair, tmp_path):
    message = message_class("SSLConfig")()
    message.server_key, message.server_cert = server_pair[:2]
    path = tmp_path / "ssl.config"
    path.write_text(str(message))
    server = serve(ModelConfig(name="small", base_path=str(base)), tls=read_tls_config(str(path)))
    context = ssl.create_default_context(cadata=server_pair[1])
    assert ask(url(server), context=context).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(url(server), context=ssl.create_default_context())
    channel, prediction = stub(server, server_pair[1])
    with channel:
        assert prediction.Predict(predict_request(), timeout=30).model_spec.version.value == 1


def test_clients_must_show_a_certificate_if_asked(serve, base, server_pair, client_ca, tmp_path):
    tls = TlsConfig(server_key=server_pair[0], server_cert=server_pair[1], custom_ca=client_ca[1], client_verify=True)
    server = serve(ModelConfig(name="small", base_path=str(base)), tls=tls)
    client = make_pair("client", signer=client_ca)
    context = ssl.create_default_context(cadata=server_pair[1])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(url(server), context=context)
    pem = tmp_path / "client.pem"
    pem.write_text(client[0] + client[1])
    context.load_cert_chain(pem)
    assert ask(url(server), context=context).status == 200
    channel, prediction = stub(server, server_pair[1], client)
    with channel:
        assert prediction.Predict(predict_request(), timeout=30).model_spec.version.value == 1
    channel, prediction = stub(server, server_pair[1])
    with channel, pytest.raises(grpc.RpcError):
        prediction.Predict(predict_request(), timeout=10)


def test_what_cannot_work_is_refused(server_pair, client_ca):
    with pytest.raises(UsageError, match="no server_key in PEM; expected the text"):
        TlsConfig(server_key="/etc/key.pem", server_cert=server_pair[1])
    with pytest.raises(UsageError, match="client_verify without custom_ca"):
        TlsConfig(server_key=server_pair[0], server_cert=server_pair[1], client_verify=True)
    with pytest.raises(UsageError, match=r"does not work: .*KEY_VALUES_MISMATCH"):
        TlsConfig(server_key=client_ca[0], server_cert=server_pair[1]).context()
