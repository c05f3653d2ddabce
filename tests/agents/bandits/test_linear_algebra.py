import numpy as np

from perennial.agents.bandits.linear_algebra import inverse_root, lengths, means


def precisions(batch: int, size: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(batch, 3 * size, size))
    return x.mT @ x + 0.1 * np.eye(size)


def test_the_root_is_one_of_the_inverse_for_every_matrix_of_a_batch() -> None:
    V = precisions(7, 5)
    root = inverse_root(V)
    assert np.allclose(root @ root.mT, np.linalg.inv(V), rtol=0, atol=1e-12)
    assert all(np.array_equal(root[i], inverse_root(V[i])) for i in range(7))


def test_lengths_and_means_are_the_textbook_ones() -> None:
    V, rng = precisions(4, 3), np.random.default_rng(1)
    x, theta = rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 3))
    for i, j in np.ndindex(4, 6):
        assert np.isclose(lengths(x, inverse_root(V))[i, j] ** 2, x[i, j] @ np.linalg.inv(V[i]) @ x[i, j], atol=1e-12)
        assert np.isclose(means(x, theta)[i, j], x[i, j] @ theta[i], atol=1e-12)


def test_a_nearly_singular_precision_keeps_its_spread_positive() -> None:
    """Collinear rows with a weak prior: the bonus stays a number, where x' V^-1 x alone may fall below 0."""
    x = np.ones((1000, 3)) * np.array([1.0, 1.0 + 1e-7, 2.0])
    root = inverse_root(x.T @ x + 1e-6 * np.eye(3))
    assert np.all(lengths(x[:5], root) >= 0)
    assert np.isfinite(root).all()
