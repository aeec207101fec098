"""What pyproject.toml cannot say: conf/ and scripts/ stay beside src/ and travel inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("src"), "propensity.conf", "propensity.scripts"],
    package_dir={"": "src", "propensity.conf": "conf", "propensity.scripts": "scripts"},
)
