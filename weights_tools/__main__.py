import sys

from weights_tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
