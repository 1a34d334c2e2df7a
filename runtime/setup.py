"""The distribution `t5x`: Flan's engine, in the place of Google's of the same name."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="t5x",
    version="0.1.0+flan",
    description="A small engine with T5X's launch interface, from PyPI parts only.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["t5x", "t5x.*"]),
    package_data={
        "t5x": ["configs/runs/*.gin"],
        "t5x.examples.t5": ["t5_1_1/*.gin", "mt5/*.gin"],
        "t5x.examples.scalable_t5": ["*.gin", "t5_1_1/*.gin"],
    },
    python_requires=">=3.11",
    install_requires=[
        "absl-py>=2.5,<3",
        "clu>=0.0.12,<0.1",
        "etils[epath]>=1.15,<2",
        "flax>=0.12.8,<0.13",
        "gin-config>=0.5,<0.6",
        "jax>=0.10.2,<0.11",
        "ml_dtypes>=0.6,<0.7",
        "numpy>=2.4,<3",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "seqio>=0.0.20,<0.0.21",
        "tensorboard>=2.21,<2.22",  # clu and seqio write with it and don't depend on it
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10,<4.10",
        "tensorflow-text>=2.21,<2.22",
        "tensorstore>=0.1.86,<0.2",
    ],
    extras_require={"gpu": ["jax[cuda13]>=0.10,<0.11"], "tpu": ["jax[tpu]>=0.10,<0.11"]},
)
