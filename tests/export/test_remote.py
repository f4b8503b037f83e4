"""Publication through `tf.io.gfile`, to file systems in memory and on disk."""

from __future__ import annotations

import uuid

import pytest
import tensorflow as tf

from export import PublishError, publish
from export.publish import LocalBase, RemoteBase, check_remote_base, open_base, publish_remote

FILES = ("assets.extra/contract.json", "fingerprint.pb", "saved_model.pb", "variables/variables.index")


@pytest.fixture
def staged(tmp_path):
    for name in FILES:
        path = tmp_path / "staged" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return tmp_path / "staged"


@pytest.fixture(params=["ram", "file"])
def base(request, tmp_path):
    url = f"ram://{uuid.uuid4()}/models/demo" if request.param == "ram" else f"file://{tmp_path}/models/demo"
    check_remote_base(url, None)
    return url


def content(directory):
    found = {}
    for parent, _, files in tf.io.gfile.walk(directory):
        for name in files:
            path = tf.io.gfile.join(parent, name)
            found[path.removeprefix(directory).lstrip("/")] = tf.io.gfile.GFile(path).read()
    return found


def test_a_version_is_copied_whole(staged, base):
    assert publish_remote(staged, base, None) == f"{base}/1"
    assert content(f"{base}/1") == {name: f"content of {name}" for name in FILES}
    assert publish_remote(staged, base, 7) == f"{base}/7"
    assert publish_remote(staged, base + "/", None) == f"{base}/8"


def test_saved_model_comes_last(staged, base, monkeypatch):
    seen = []
    copy = tf.io.gfile.copy

    def record(source, target):
        seen.append(target.removeprefix(f"{base}/1/"))
        copy(source, target)

    monkeypatch.setattr(tf.io.gfile, "copy", record)
    publish_remote(staged, base, None)
    assert sorted(seen) == sorted(FILES)
    assert seen[-1] == "saved_model.pb"


def test_an_existing_version_is_never_overwritten(staged, base):
    publish_remote(staged, base, 3)
    (staged / "saved_model.pb").write_text("another")
    for check in (lambda: publish_remote(staged, base, 3), lambda: check_remote_base(base, 3)):
        with pytest.raises(PublishError, match=r"version 3 exists in .* and is never overwritten; .* to get 4"):
            check()
    assert content(f"{base}/3")["saved_model.pb"] == "content of saved_model.pb"
    with pytest.raises(PublishError, match="version is -1"):
        publish_remote(staged, base, -1)


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError(None, None, "full"), KeyboardInterrupt()])
def test_a_copy_that_fails_leaves_nothing(staged, base, monkeypatch, error):
    copy = tf.io.gfile.copy

    def fail_at_the_last(source, target):
        if target.endswith("saved_model.pb"):
            raise error
        copy(source, target)

    monkeypatch.setattr(tf.io.gfile, "copy", fail_at_the_last)
    with pytest.raises(type(error)):
        publish_remote(staged, base, None)
    assert tf.io.gfile.listdir(base) == []


def test_another_exporters_files_are_left_alone(staged, base, monkeypatch):
    """Both took the same number: the later one fails at the first file that is there, and removes its own alone."""
    publish_remote(staged, base, 1)
    monkeypatch.setattr(publish, "_check_free", lambda *_: None)
    with pytest.raises(tf.errors.AlreadyExistsError):
        publish_remote(staged, base, 1)
    assert content(f"{base}/1") == {name: f"content of {name}" for name in FILES}


def test_which_base_is_remote(tmp_path):
    assert open_base(tmp_path / "models", None) == LocalBase(tmp_path / "models")
    assert open_base("ram://x/models", None) == RemoteBase("ram://x/models")
    with RemoteBase("ram://x/models").staging() as directory:
        assert directory.is_dir()
    assert not directory.exists()
