import sys

from weights_tools.cli import main

sys.exit(main())
