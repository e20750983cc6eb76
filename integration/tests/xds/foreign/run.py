"""Runs every check against serve-dir, in all variants that it is for.

Usage: run.py SERVE_DIR [PART OF A NAME]. Prints what is wrong and exits with 1, or how many checks passed.
Checks have a node of their own each and wait mostly for silence, so many run at once.
"""

import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor

import delta
import files
import scenarios
import sotw
import streams
from client import CDS, Failed
from folder import Node, Server

AT_ONCE = 24


def run(server, number, check, variant):
    name = f"{check.__module__}.{check.__name__} ({variant!r})"
    try:
        check(Node(server, f"node-{number}", {}), variant)
        error = None
    except Failed as failed:
        frames = [f for f in traceback.extract_tb(failed.__traceback__) if f.filename == check.__code__.co_filename]
        error = f"{failed}" + "".join(f"\n    line {frame.lineno}: {frame.line}" for frame in frames)
    except Exception:
        error = traceback.format_exc()
    return name, error


def main():
    program, part = sys.argv[1], "".join(sys.argv[2:])
    checks = [(check, variant) for module in (scenarios, sotw, delta, streams, files)
              for check in module.CHECKS for variant in module.VARIANTS
              if part in check.__name__ and getattr(check, "applies", lambda _: True)(variant)]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, folder)
        Node(server, "_default", {CDS: ["of-default"]})
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(lambda numbered: run(server, numbered[0], *numbered[1]), enumerate(checks)))
        server.stop()
    failures = [(name, error) for name, error in results if error]
    for name, error in failures:
        print(f"{name}: {error}")
    print(f"{sum(check in scenarios.CHECKS for check, _ in checks)} scenarios of ii/xds-test-harness")
    print(f"{len(results) - len(failures)} checks passed, {len(failures)} failed")
    sys.exit(1 if failures or not results else 0)


main()
