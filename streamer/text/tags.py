"""What tells a model how to speak rather than what to say: tags, notes and speakers' labels, defined once."""

from __future__ import annotations

import re
from typing import Final

MAX_TAG_CHARS: Final = 40
"""What stands between the brackets of a tag."""
TAG: Final = rf"\[[^\[\]\n]{{1,{MAX_TAG_CHARS}}}\]"
"""A stretch in brackets such as `[clears throat]`: nothing cuts it in two."""
SOUND_TAG: Final = r"\[[A-Za-z][A-Za-z' -]{0,38}\](?!\()"
"""A tag that can name a sound, because it holds words alone and is no link's text."""
NOTES: Final = "♪♫♩♬🎵🎶"
"""Signs before and after what is sung."""
SONG: Final = "♪"
"""The note that Bark knows, by which models name the ability to sing."""
UPPER: Final = "A-ZÀ-ÖØ-ÞĄĆĘŁŃŚŹŻĞİŞА-ЯЁ"
SPEAKER: Final = rf"[{UPPER}][{UPPER}0-9 .'-]{{0,20}}:"
"""A label such as `MAN:` or `OLD WOMAN 2:`, after which that person speaks."""

DIRECTION: Final = re.compile(rf"{TAG}(?!\()|[{NOTES}]|^\s*{SPEAKER}(?=\s)", re.MULTILINE)
"""A tag, a note, or a label at the beginning of a line."""
BARK_DIRECTION: Final = re.compile(
    r"\[(?:laughter|laughs|sighs|music|gasps|clears throat|man|woman)\]|^\s*(?:MAN|WOMAN):"
    rf"|[{NOTES}]",
    re.IGNORECASE | re.MULTILINE,
)
"""The directions that Bark's guide names; a model without tags leaves them out and reads the others as text."""
