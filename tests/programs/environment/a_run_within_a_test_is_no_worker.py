import subprocess
import sys
import app


def test_it(pg_url):
    assert app.URL == pg_url


def test_inner():
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-k", "test_it", __file__]
    subprocess.run(command, check=True)
