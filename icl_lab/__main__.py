"""``python -m icl_lab`` is the same as ``icl-lab``."""

import sys

from icl_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
