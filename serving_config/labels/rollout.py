"""The steps of a rollout: load the version, wait, move the label, wait until the server answers for it.

    read models.config or the manifest, and what the server has loaded -> LabelMove, or `UsageError`
    0. with a gate, compare the version with the one that has the label        (it may be worse: `JobError`)
    1. add the version to a policy of specific versions, if it is not loaded;  write, and let the server take it
    2. wait until the version is AVAILABLE                                     (its load may fail: `JobError`)
    3. put the label on it;                                                    write, and let the server take it
    4. ask the server by the label until that version answers

The order is what makes it safe: TensorFlow Serving takes a label only on a version that is loaded, and refuses the
whole configuration otherwise. If the version does not load, the configuration is put back as it was. Whatever step
fails, the file is whole, and no label is on a version that is not loaded.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maf_serving.messages import message_text
from serving_config.client.client import Client
from serving_config.client.grpc_transport import GrpcTransport
from serving_config.client.retry import RetryPolicy
from serving_config.client.transport import AVAILABLE, OK, VersionStatus
from serving_config.errors import InvalidArgumentError, JobError, ModelNotFoundError, UnavailableError, UsageError
from serving_config.labels.config_store import ConfigFile, ConfigMapManifest
from serving_config.labels.gate import check_gate
from serving_config.server_files import model_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving_config.labels.options import RolloutOptions

_POLL_SECONDS = 0.2


class Rollout:
    """One run of the command; `say` gets a line for each step."""

    def __init__(self, options: RolloutOptions, *, say: Callable[[str], object]) -> None:
        """Reads the configuration. Raises `UsageError` if the model is not in it."""
        self._options = options
        self._say = say
        self._store = _open_store(options)
        self._message = self._store.read()
        self._text = message_text(self._message)
        self._config = model_entry(self._message, options.model_name, self._store.path)

    def run(self) -> LabelMove:
        """Does what the options say, and returns what has moved.

        Raises:
          UsageError: a label or a version is not there.
          JobError: the version is refused by the gate, or does not load, or the server does not take the file.
          ServingError: the server refused, or could not be reached.
        """
        with self._client() as client:
            move = plan_move(self._options, self._config, client.model_status())
        name = f"model {self._options.model_name}"
        was = "nowhere" if move.previous is None else f"version {move.previous}"
        if move.previous == move.version:
            self._say(f"label {move.label} of {name} is on version {move.version} already in {self._store.path}")
            self._apply()
            if self._options.run == "real":
                self._await_label(move)
            return move
        if self._options.gate is not None:
            check_gate(
                self._options.gate,
                model_name=self._options.model_name,
                base_path=self._config.base_path,
                version=move.version,
                previous=move.previous,
                say=self._say,
            )
        before = self._copy()
        if needs_loading(self._config, move.version):
            self._say(f"load version {move.version} of {name}")
            add_version(self._config, move.version)
            self._apply()
        if self._options.run == "real":
            self._await_version_or_restore(move.version, before)
        self._say(f"move label {move.label} of {name} from {was} to version {move.version}")
        move_label(self._config, move)
        self._apply()
        if self._options.run == "real":
            self._await_label(move)
        return move

    def _client(self, *, version: int | None = None, version_label: str | None = None) -> Client:
        server = self._options.server
        return Client(
            self._options.model_name,
            rest_url=server.rest_url,
            grpc_target=server.grpc_target,
            version=version,
            version_label=version_label,
            tls=server.tls,
            timeout=server.timeout,
            retry=RetryPolicy(attempts=server.attempts),
        )

    def _apply(self) -> None:
        """Replaces the configuration, and sends it if asked to."""
        if self._options.run == "dry":
            return
        if message_text(self._store.read()) != self._text:
            raise JobError(
                f"{self._store.path} has been changed by somebody else since this command read it; run it again"
            )
        self._store.write(self._message)
        self._text = message_text(self._message)
        if self._store.applied_by is not None:
            self._say(f"{self._store.path} is written; apply it: {self._store.applied_by}")
        if self._options.apply == "push" and self._options.server.grpc_target is not None:
            self._push(self._options.server.grpc_target)

    def _push(self, target: str) -> None:
        transport = GrpcTransport(target, tls=self._options.server.tls)
        try:
            transport.reload_config(self._message.SerializeToString(), timeout=self._options.wait_seconds)
        finally:
            transport.close()

    def _await_version_or_restore(self, version: int, before: Any) -> None:
        """A version not known to load is not left in the configuration, where it would be tried at every start."""
        try:
            self._await_version(version)
        except BaseException:
            if self._message != before:
                self._message.CopyFrom(before)
                self._apply()
            raise

    def _copy(self) -> Any:
        copy = type(self._message)()
        copy.CopyFrom(self._message)
        return copy

    def _await_version(self, version: int) -> None:
        with self._client(version=version) as client:

            def loaded() -> str | None:
                try:
                    (status,) = client.model_status()
                except ModelNotFoundError as error:
                    return str(error)
                if status.state == "END" and status.error_code != OK:
                    raise JobError(
                        f"version {version} of model {self._options.model_name} failed to load: {status.error_code}: "
                        f"{status.error_message}; no label has been moved"
                    )
                return None if status.state == AVAILABLE else f"its state is {status.state}"

            self._wait(
                loaded,
                f"version {version} of model {self._options.model_name} is not available after "
                f"{self._options.wait_seconds:g} s, and no label has been moved",
            )

    def _await_label(self, move: LabelMove) -> None:
        with self._client(version_label=move.label) as client:

            def moved() -> str | None:
                try:
                    version = client.metadata().version
                except (InvalidArgumentError, ModelNotFoundError, UnavailableError) as error:
                    return str(error)
                return None if version == move.version else f"it is on version {version}"

            self._wait(
                moved,
                f"{self._store.path} is written, but the server has not moved label {move.label} after "
                f"{self._options.wait_seconds:g} s; {self._advice()}",
            )

    def _advice(self) -> str:
        if self._store.applied_by is not None:
            return f"was the manifest applied ({self._store.applied_by})? Pods see a change after a minute or two"
        return (
            "was it started with that file and with --model_config_file_poll_wait_seconds? If not, run with "
            "--apply push"
        )

    def _wait(self, look: Callable[[], Any], failure: str) -> None:
        """Looks until there is nothing to complain of."""
        end = time.monotonic() + self._options.wait_seconds
        while (complaint := look()) is not None:
            if time.monotonic() >= end:
                raise JobError(f"{failure} ({complaint})")
            time.sleep(_POLL_SECONDS)


def _open_store(options: RolloutOptions) -> ConfigFile | ConfigMapManifest:
    if options.models_config is not None:
        return ConfigFile(options.models_config)
    if options.manifest is not None:
        return ConfigMapManifest(options.manifest)
    raise UsageError("there is neither a models.config nor a manifest")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LabelMove:
    """Which label goes to which version; `previous` is where it was, `None` for a new label."""

    label: str
    version: int
    previous: int | None


def plan_move(options: RolloutOptions, config: Any, statuses: Sequence[VersionStatus]) -> LabelMove:
    """What an operation means for a model, as its configuration and the server have it.

    Args:
      options: the operation.
      config: the model's `ModelConfig`.
      statuses: the versions that the server knows.

    Raises:
      UsageError: a label is not there, or there is no version to go back to.
    """
    labels = dict(config.version_labels)
    previous = labels.get(options.label)
    if options.operation == "promote":
        version = _label(labels, options.from_label, config.name)
    elif options.version is not None:
        version = options.version
    else:
        version = _version_before(_label(labels, options.label, config.name), config.name, statuses)
    return LabelMove(label=options.label, version=version, previous=previous)


def needs_loading(config: Any, version: int) -> bool:
    """Whether the policy keeps the version from being loaded. A policy of latest or all is taken at its word."""
    policy = config.model_version_policy
    return policy.WhichOneof("policy_choice") == "specific" and version not in policy.specific.versions


def add_version(config: Any, version: int) -> None:
    """Adds the version to those that a policy of specific versions loads."""
    versions = config.model_version_policy.specific.versions
    versions[:] = sorted({*versions, version})


def move_label(config: Any, move: LabelMove) -> None:
    """Puts the label on its version."""
    config.version_labels[move.label] = move.version


def _label(labels: dict[str, int], label: str, model: str) -> int:
    if label not in labels:
        raise UsageError(f"model {model} has no label {label!r}; it has {', '.join(sorted(labels)) or 'none'}")
    return labels[label]


def _version_before(version: int, model: str, statuses: Sequence[VersionStatus]) -> int:
    """The newest version before the one given that the server has loaded."""
    before = [each.version for each in statuses if each.version < version and each.state == AVAILABLE]
    if not before:
        raise UsageError(
            f"the server has no version of model {model} before {version} loaded; name one with --version to load it"
        )
    return max(before)
