"""Formats: how a prompt becomes a token sequence, and where its answers are read."""

from icl_lab.formats.base import REAL as REAL
from icl_lab.formats.base import Format as Format
from icl_lab.formats.base import why_not as why_not
from icl_lab.formats.changed import Blank as Blank
from icl_lab.formats.changed import Coded as Coded
from icl_lab.formats.changed import Marked as Marked
from icl_lab.formats.changed import Reversed as Reversed
from icl_lab.formats.changed import Scaled as Scaled
from icl_lab.formats.changed import Unreadable as Unreadable
from icl_lab.formats.changes import CHANGES as CHANGES
from icl_lab.formats.changes import NAMED as NAMED
from icl_lab.formats.changes import separated as separated
from icl_lab.formats.changes import swapped as swapped
from icl_lab.formats.described import WithDescription as WithDescription
from icl_lab.formats.plain import FORMATS as FORMATS
from icl_lab.formats.plain import Interleaved as Interleaved
from icl_lab.formats.plain import Paired as Paired
from icl_lab.formats.plain import Stream as Stream
from icl_lab.formats.plain import Swapped as Swapped
from icl_lab.formats.separated import Separated as Separated
