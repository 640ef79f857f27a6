"""Addresses of servers, and what is shown of them: secrets stay in headers."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from nbtape.kernels.remote.connection import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Callable

#: A marker that is in a text only if it was put there.
SECRET = "sesame-7c1d"


def http(host: str = "example.org", **fields: Any) -> JupyterConnectionInfo:
    return JupyterConnectionInfo(host, use_https=False, **fields)


def https(host: str = "example.org", **fields: Any) -> JupyterConnectionInfo:
    return JupyterConnectionInfo(host, use_https=True, **fields)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "fe80::1%eth0", "my_host-1.example.org", "HOST"])
def test_a_name_or_an_address_is_a_host(host: str) -> None:
    assert http(host).host == host


@pytest.mark.parametrize(
    "host",
    ["", " ", "http://example.org", "example.org/x", "a b", "me@example.org", "[::1]", "a\n", "a?b", "a#b", "bücher"],
)
def test_a_host_with_other_parts_is_rejected_with_the_argument_they_belong_to(host: str) -> None:
    with pytest.raises(ValueError, match="use_https=, port= and base_path="):
        http(host)


@pytest.mark.parametrize("port", [1, 8888, 65535, None])
def test_the_default_port_depends_on_the_scheme(port: int | None) -> None:
    assert http(port=port).port == port


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_invalid_port_is_rejected(port: int) -> None:
    with pytest.raises(ValueError, match=f"^{port} is not a port. Use a number from 1 to 65535.$"):
        http(port=port)


@pytest.mark.parametrize(
    "headers",
    [
        {"": SECRET},
        {"Two words": SECRET},
        {"Colon:": SECRET},
        {"Ümlaut": SECRET},
        {"X\r\nY": SECRET},
        {"Cookie": f"{SECRET}\r\nHost: elsewhere"},
        {"Cookie": f"{SECRET}\n"},
        {"Cookie": f"{SECRET}\0"},
        {"Cookie": f"{SECRET}é"},
    ],
)
def test_an_invalid_header_is_rejected_without_showing_its_value(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be sent") as caught:
        http(headers=headers)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET}é", f"{SECRET}\r\nX: y"])
def test_an_invalid_token_is_rejected_without_showing_it(token: str) -> None:
    with pytest.raises(ValueError, match="Authorization") as caught:
        http(token=token)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [f"{SECRET} ", f" {SECRET} "])
def test_a_header_that_ends_with_a_space_is_rejected_before_the_http_client_shows_it(value: str) -> None:
    # h11 also rejects it, in an error that shows the value.
    with pytest.raises(ValueError, match="cannot be sent") as caught:
        http(headers={"Cookie": value})
    assert SECRET not in str(caught.value)


def test_a_missing_ca_file_is_reported_at_once(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(ValueError, match=f"The file {missing} does not exist"):
        https(ca_file=missing)
    with pytest.raises(ValueError, match=r"does not exist\. Set ca_file="):
        https(ca_file=tmp_path)


def test_local_root_can_be_a_string() -> None:
    assert https(local_root="runs").local_root == Path("runs")


BASE_PATHS = [
    ("", "/"),
    ("/", "/"),
    ("//", "/"),
    ("///", "/"),
    ("user/alice", "/user/alice/"),
    ("/user/alice", "/user/alice/"),
    ("user/alice/", "/user/alice/"),
    ("/user/alice/", "/user/alice/"),
    ("//user/alice//", "/user/alice/"),
]


@pytest.mark.parametrize(("given_path", "base_path"), BASE_PATHS)
def test_a_base_path_begins_and_ends_with_one_slash(given_path: str, base_path: str) -> None:
    info = http(base_path=given_path)
    assert info.base_path == base_path
    assert info == http(base_path=base_path), "what is normal stays as it is"


ADDRESSES = [
    (http(), "http://example.org/", "http://example.org/api/", "ws://example.org/api/"),
    (https(), "https://example.org/", "https://example.org/api/", "wss://example.org/api/"),
    (http(port=8888), "http://example.org:8888/", "http://example.org:8888/api/", "ws://example.org:8888/api/"),
    (https("::1", port=1), "https://[::1]:1/", "https://[::1]:1/api/", "wss://[::1]:1/api/"),
    (http("::1"), "http://[::1]/", "http://[::1]/api/", "ws://[::1]/api/"),
    (
        https(port=443, base_path="user/alice"),
        "https://example.org:443/user/alice/",
        "https://example.org:443/user/alice/api/",
        "wss://example.org:443/user/alice/api/",
    ),
    (
        http(base_path="/user/zoë b/"),
        "http://example.org/user/zoë b/",
        "http://example.org/user/zo%C3%AB%20b/api/",
        "ws://example.org/user/zo%C3%AB%20b/api/",
    ),
    (
        http(base_path="/user/zo%C3%AB%20b/"),
        "http://example.org/user/zo%C3%AB%20b/",
        "http://example.org/user/zo%C3%AB%20b/api/",
        "ws://example.org/user/zo%C3%AB%20b/api/",
    ),
    (http(base_path="/a?b#c/"), "http://example.org/a?b#c/", "http://example.org/a%3Fb%23c/api/", None),
]


@pytest.mark.parametrize(("info", "url", "api", "websocket_api"), ADDRESSES)
def test_an_address_is_built_as_servers_expect_it(
    info: JupyterConnectionInfo, url: str, api: str, websocket_api: str | None
) -> None:
    assert info.url == url
    assert info.api == api
    assert websocket_api is None or info.websocket_api == websocket_api


FROM_URLS = [
    ("http://example.org", http()),
    ("http://example.org/", http()),
    ("HTTPS://Example.ORG:8888/", https(port=8888)),
    ("http://[::1]:8888/", http("::1", port=8888)),
    ("https://hub.example.org/user/alice", https("hub.example.org", base_path="/user/alice/")),
    ("https://hub.example.org/user/alice/", https("hub.example.org", base_path="/user/alice/")),
    ("http://example.org/?token=s3", http(token="s3")),
    ("http://example.org/?a=b&token=s3&c=d", http(token="s3")),
    ("http://example.org/?token=a%2Bb%3D", http(token="a+b=")),
    ("http://example.org/?token=", http()),
    ("http://example.org/lab?token=s3", http(token="s3")),
    ("http://example.org/lab/tree/a/b.ipynb", http()),
    ("http://example.org/lab/workspaces/auto-X/tree/b.ipynb#there", http()),
    ("http://example.org/tree", http()),
    ("http://example.org/tree/", http()),
    ("http://example.org/notebooks/a.ipynb", http()),
    ("http://example.org/doc/tree/a.md", http()),
    ("http://example.org/labour/", http(base_path="/labour/")),
    ("https://hub.example.org/user/alice/lab?token=s3", https("hub.example.org", base_path="/user/alice/", token="s3")),
]


@pytest.mark.parametrize(("url", "info"), FROM_URLS)
def test_urls_from_jupyters_log_or_a_browser_are_accepted(url: str, info: JupyterConnectionInfo) -> None:
    assert JupyterConnectionInfo.from_url(url) == info


@pytest.mark.parametrize("name", ["lab", "tree", "doc", "notebooks"])
def test_a_user_name_that_equals_a_page_name_keeps_the_base_path(name: str) -> None:
    for page in ("", "lab", "tree"):
        assert JupyterConnectionInfo.from_url(f"https://hub/user/{name}/{page}").base_path == f"/user/{name}/"


def test_a_token_in_a_url_is_sent_only_in_a_header() -> None:
    info = JupyterConnectionInfo.from_url(f"http://example.org/lab?token={SECRET}")
    assert info.secret_headers == {"Authorization": f"token {SECRET}"}
    assert SECRET not in info.url + info.api + info.websocket_api


def test_a_separate_token_overrides_the_one_in_the_url() -> None:
    assert JupyterConnectionInfo.from_url("http://example.org/?token=old", "new").token == "new"
    assert JupyterConnectionInfo.from_url("http://example.org/?token=old", token="").token == "old"
    assert JupyterConnectionInfo.from_url("http://example.org/", token="new").token == "new"


@pytest.mark.parametrize("login", ["me", f"me:{SECRET}", f":{SECRET}", ":", ""])
def test_a_user_and_password_in_a_url_are_rejected_without_showing_the_password(login: str) -> None:
    with pytest.raises(ValueError, match="no user and password") as caught:
        JupyterConnectionInfo.from_url(f"http://{login}@example.org/")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "ws://example.org/",
        "http://",
        "http:///lab",
        "https://:8888/",
        "file:///etc/passwd",
        "http:example.org",
    ],
)
def test_an_invalid_server_url_is_rejected_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match="Use the form https://host:port/base/path/"):
        JupyterConnectionInfo.from_url(url)


@pytest.mark.parametrize("port", ["x", "-1", "65536", "99999999999999999999", "0", "8888x"])
def test_an_invalid_port_in_a_url_is_rejected(port: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        JupyterConnectionInfo.from_url(f"http://example.org:{port}/")


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.org:x/?token={SECRET}",
        f"http://example.org:0/?token={SECRET}",
        f"ftp://example.org/?a=b&token={SECRET}",
        f"ftp://me:{SECRET}@example.org/",
        f"http://me:{SECRET}@example.org:x/",
        f"http://exa mple.org/?token={SECRET}",
        f"http://[::1/?token={SECRET}",
        f"http://me:{SECRET}@[elsewhere]/",
        # A slash, an @ and a missing // turn the password into part of something else.
        f"http://me:a/{SECRET}@example.org/",
        f"ftp://me:a@{SECRET}@example.org/",
        f"http:me:{SECRET}@example.org/",
        f"http://example.org:x/#token={SECRET}",
        # Its host is "ex" and a character that means "a/c" (NFKC): urlsplit shows everything before it.
        f"http://me:{SECRET}@ex℀mple.org/",
    ],
)
def test_an_error_shows_neither_token_nor_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (with any message)
        JupyterConnectionInfo.from_url(url)
    assert SECRET not in str(caught.value)


URLS = st.one_of(
    st.text(),
    st.text(alphabet="htps:/[]@?#%.&=token1a:℀é \n\\", max_size=40).map("http://".__add__),
    st.lists(
        st.sampled_from(["http", "https", "://", "host", ":", "80", "/", "@", "[::1]", "[v1.a:b]", "%", "?token=", "#"])
    ).map("".join),
)


@given(URLS)
@example("http://[::1")
@example("http://[x]/")
@example("http://a:b:c/")
@example("http://ex℀mple.org/")
@example("http://h/?token=\n")
@example("http://[v1.a:b]/")
@example("http://[::1%eth0]/")
def test_any_text_is_a_valid_url_or_a_value_error(text: str) -> None:
    try:
        info = JupyterConnectionInfo.from_url(text)
    except ValueError:
        return
    parts = urlsplit(info.url)
    assert parts.scheme in {"http", "https"}
    assert (parts.hostname, parts.port) == (info.host, info.port)
    assert JupyterConnectionInfo.from_url(info.url).base_path.startswith("/")
    assert info.api.isascii()


@pytest.mark.parametrize("host", ["::", "::1%eth0", "1:2", "a:b", "v1.a:b", "10.0.0.256", "a..b"])
def test_an_accepted_host_works_in_the_http_client(host: str) -> None:
    try:
        info = http(host)
    except ValueError:
        return
    httpx.URL(info.api)


def test_the_connection_info_of_autogen_is_understood() -> None:
    theirs = SimpleNamespace(host="10.0.0.1", use_https=True, port=8888, token=SECRET)
    assert JupyterConnectionInfo.of(theirs) == https("10.0.0.1", port=8888, token=SECRET)
    theirs = SimpleNamespace(host="10.0.0.1", use_https=False, port=None, token=None)
    assert JupyterConnectionInfo.of(theirs) == http("10.0.0.1")


def test_a_host_alone_is_a_valid_connection_info() -> None:
    assert JupyterConnectionInfo.of(SimpleNamespace(host="10.0.0.1")) == http("10.0.0.1")


def test_an_nbtape_connection_info_is_used_unchanged() -> None:
    info = https(base_path="/x/", headers={"A": "b"})
    assert JupyterConnectionInfo.of(info) is info
    assert info.connection_info is info


@pytest.mark.parametrize("other", [None, "http://example.org", 8888, object(), SimpleNamespace(host=None, port=1)])
def test_an_object_without_a_host_is_not_a_connection_info(other: object) -> None:
    with pytest.raises(TypeError, match="It needs the attributes host, use_https, port and token"):
        JupyterConnectionInfo.of(other)


def test_a_token_is_sent_in_jupyters_format_with_the_other_headers() -> None:
    info = http(token=SECRET, headers={"Cookie": "a=b"})
    assert info.secret_headers == {"Cookie": "a=b", "Authorization": f"token {SECRET}"}
    assert http().secret_headers == {}
    assert http(token="").secret_headers == {}
    headers = {"Cookie": "a=b"}
    http(headers=headers).secret_headers["X"] = "y"
    assert headers == {"Cookie": "a=b"}, "what was given is not written to"


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_no_secret_shows_in_a_repr(show: Callable[[object], str]) -> None:
    info = http(
        token=f"{SECRET}-token", headers={"Cookie": f"{SECRET}-cookie"}, kernel_env={"PASSWORD": f"{SECRET}-variable"}
    )
    assert SECRET not in show(info)
    assert "Cookie" not in show(info)
    assert "PASSWORD" not in show(info)
    assert "example.org" in show(info)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_connection_info_pickles_with_all_fields(protocol: int, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    info = https(
        port=1,
        token=SECRET,
        base_path="x",
        ca_file=ca_file,
        verify=False,
        headers={"A": "b"},
        kernel_env={"C": "d"},
        local_root=Path("/"),
    )
    assert pickle.loads(pickle.dumps(info, protocol)) == info


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_local_addresses_are_loopback(host: str) -> None:
    assert http(host).is_loopback


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "localhost.example.org", "0.0.0.0", "::2", "fe80::1", "1"])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not http(host).is_loopback


def test_a_ca_file_replaces_the_systems_authorities(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    for path in (ca_file, str(ca_file)):
        context = https(ca_file=path).make_ssl_context()
        assert len(context.get_ca_certs()) == 1
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_certificates_are_checked_by_default() -> None:
    checked = https().make_ssl_context()
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    unchecked = https(verify=False).make_ssl_context()
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_invalid_ca_file_is_named(content: bytes, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{ca_file} is not a valid PEM file of certificates"):
        https(ca_file=ca_file).make_ssl_context()


@pytest.mark.parametrize(
    "address", ["example.org:8888", "127.0.0.1:8888/base/", "localhost", "localhost:8888/lab?token=x"]
)
def test_a_server_url_without_its_scheme_is_rejected_with_the_url(address: str) -> None:
    bare = address.partition("?")[0]
    with pytest.raises(ValueError, match=rf"^'{bare}' is not the URL of a server\. Did you mean http://{bare}\?$"):
        JupyterConnectionInfo.from_url(address)
