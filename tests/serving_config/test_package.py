import subprocess
import sys

import pytest

import serving_config
import serving_config.client


@pytest.mark.parametrize("package", [serving_config, serving_config.client])
def test_public_names_resolve_and_are_listed(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    assert set(package.__all__) <= set(dir(package))
    assert sorted(package.__all__) == package.__all__
    with pytest.raises(AttributeError, match="nope"):
        package.nope  # noqa: B018  # the access is what is tested


def test_importing_the_packages_loads_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import serving_config, serving_config.client\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not new & {'numpy', 'google', 'grpc', 'urllib3', 'yaml', 'pyarrow', 'tensorflow'}, new"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_error_has_a_status_and_a_place_in_the_tree():
    from maf_serving import errors as shared  # noqa: PLC0415
    from serving_config import errors  # noqa: PLC0415

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    for kind in kinds:
        assert issubclass(kind, shared.MafServingError)
        assert kind.exit_status == (2 if issubclass(kind, errors.UsageError) else 1)
        assert kind.__name__ in errors.__doc__ + shared.__doc__
