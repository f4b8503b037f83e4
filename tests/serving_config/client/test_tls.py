import dataclasses
import ssl

import grpc
import pytest
import trustme

from serving_config import Client, UsageError
from serving_config.client import RetryPolicy, Tls
from serving_config.errors import PermissionDeniedError, UnavailableError
from tests.serving_config.flow_server import FlowServer

ONCE = RetryPolicy(attempts=1)


@dataclasses.dataclass
class ServerTls:
    context: ssl.SSLContext
    credentials: grpc.ServerCredentials


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority):
    """Lets nobody in who shows no certificate of the authority."""
    certificate = authority.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), chain)], authority.cert_pem.bytes(), require_client_auth=True
    )
    running = FlowServer(tls=ServerTls(context, credentials))
    yield running
    running.close()


@pytest.fixture
def files(authority, tmp_path):
    client = authority.issue_cert("client")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return {name: tmp_path / f"{name}.pem" for name in ("ca", "key", "cert")}


@pytest.fixture(params=["rest", "grpc"])
def address(request, server):
    return {"rest_url": server.rest_url} if request.param == "rest" else {"grpc_target": server.grpc_target}


def test_a_client_with_a_certificate_is_let_in(address, files):
    tls = Tls(root_certificates=files["ca"], client_certificate=files["cert"], client_key=files["key"])
    with Client("flow", **address, tls=tls) as client:
        assert client.log_prob([[0, 0]], [[0]]).shape == (1,)


def test_a_client_without_one_is_not(address, files):
    with (
        Client("flow", **address, tls=Tls(root_certificates=files["ca"]), retry=ONCE, timeout=10) as client,
        pytest.raises((PermissionDeniedError, UnavailableError)),
    ):
        client.log_prob([[0, 0]], [[0]])


def test_a_server_that_nobody_vouches_for_is_not_trusted(address, files, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    tls = Tls(root_certificates=tmp_path / "other.pem", client_certificate=files["cert"], client_key=files["key"])
    with (
        Client("flow", **address, tls=tls, retry=ONCE, timeout=10) as client,
        pytest.raises((PermissionDeniedError, UnavailableError)),
    ):
        client.log_prob([[0, 0]], [[0]])


def test_files_that_are_missing_or_alone_are_refused(files):
    with pytest.raises(UsageError, match="belong together"):
        Tls(client_key=files["key"])
    with pytest.raises(UsageError, match=r"root_certificates .*nope.* is no file"):
        Client("flow", grpc_target="localhost:1", tls=Tls(root_certificates=files["ca"].with_name("nope")))
    with pytest.raises(UsageError, match="expected an https:// URL"):
        Client("flow", rest_url="http://localhost:1", tls=Tls(root_certificates=files["ca"]))
