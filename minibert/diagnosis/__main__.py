"""`python -m minibert.diagnosis` is `minibert diagnose`."""

import argparse

from minibert.diagnosis.command import add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="minibert diagnose")
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
