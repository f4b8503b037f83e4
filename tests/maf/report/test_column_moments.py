import numpy as np

from maf_serving.moments import Covariances


def test_batches_give_the_moments_of_all_rows_however_far_from_zero():
    rng = np.random.default_rng(0)
    rows = 1e8 + rng.normal(size=(1_000, 3)) @ rng.normal(size=(3, 3))
    moments = Covariances(3)
    for batch in np.split(rows, [1, 10, 700]):
        moments.add(batch)
    centred = rows - 1e8
    np.testing.assert_allclose(moments.covariance, np.cov(centred.T, bias=True), rtol=1e-6)
    np.testing.assert_allclose(moments.mean - 1e8, centred.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(moments.deviation, centred.std(axis=0), rtol=1e-6)
    assert moments.count == 1_000
    moments.noise[1] = 9.0
    np.testing.assert_allclose(moments.covariance, np.cov(centred.T, bias=True) + np.diag([0, 9, 0]), rtol=1e-6)
    np.testing.assert_array_equal([moments.minimum, moments.maximum], [rows.min(axis=0), rows.max(axis=0)])
