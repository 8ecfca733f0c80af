"""Names of files: what of a name counts when files are matched, and the one rule that holds for two whole folders."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import NamedTuple
from unicodedata import normalize

from utils.paths import IMAGE_SUFFIXES, MASK_ENDING, MASK_SUFFIXES, MICROSCOPE_SUFFIXES

ENDINGS = sorted(IMAGE_SUFFIXES | MASK_SUFFIXES | MICROSCOPE_SUFFIXES, key=len, reverse=True)
ENDING = re.compile(rf"(\.ome)?({'|'.join(map(re.escape, ENDINGS))})?$", re.IGNORECASE)
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # imgA: between two words
# Words and numbers; CD4+ is not CD4, and a folder is no part of a name. First each number with its point or sign.
TOKENS = [re.compile(r"[-+.,]?\d+|[^\W\d_]+|[+/]"), re.compile(r"\d+|[^\W\d_]+|[+/]")]
MASK_NAMES = "mask masks label labels lbl seg segs segmentation annotation annotations cp gt truth outlines"
MASK_WORDS = set(MASK_NAMES.split())
ROLE_WORDS = [{"train", "training"}, {"test", "testing"}, {"val", "valid", "validation"}]
USUAL = 0.75  # share of the files of a folder in which a word stands that belongs to the rule, and that the rule fits
FEW = 3  # files below which a word that may mean anything is no rule
NUMBERS = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]  # how many at the start and at the end one of the folders adds
EQUAL = "Images and masks have the same file names."


def name_key(path: PurePath | str) -> str:
    """Path without the ending of a file, with "/", accents spelt in one way (Unicode NFC).

    Only endings of images, masks and microscopes' files are taken off, in any case; .ome.tif is one ending. Names from
    Windows may have a backslash.

    >>> name_key("a/cell.OME.TIF"), name_key("v1.5")
    ('a/cell', 'v1.5')
    """
    text = path.as_posix() if isinstance(path, PurePath) else path.replace("\\", "/")
    return ENDING.sub("", normalize("NFC", text), count=1)


class Matching(NamedTuple):
    """Key of the image for each key of a mask, the rule in words, and whether that rule can hardly be chance."""

    image_of: dict[str, str]
    rule: str
    sure: bool = True


def match(images: Collection[str], masks: Collection[str]) -> Matching:
    """Find which mask belongs to which image, by the one rule that suits all of them.

    The names are the same, or those of masks have a usual ending more (_mask, -label, _cp_masks ...), each its own;
    several masks may then be found for one image. Where that leaves files over, see `by_words`.

    Parameters
    ----------
    images, masks
        From `name_key`, each once.
    """
    image_of = {mask: _plain(mask, images) for mask in masks}
    image_of = {mask: image for mask, image in image_of.items() if image in images}
    ended = sorted(mask for mask, image in image_of.items() if mask != image)
    plain = Matching(image_of, _said_ending(ended, image_of) if ended else EQUAL)
    found = set(image_of.values())
    if len(found) == len(images) and len(image_of) == len(masks):
        return plain
    other = by_words(images, masks)
    return other if other and len(other.image_of) > len(found) else plain


def _plain(mask: str, images: Collection[str]) -> str:
    """Key of a mask, without its usual ending where no image has it."""
    return mask if mask in images else MASK_ENDING.sub("", mask)


def _said_ending(masks: Sequence[str], image_of: dict[str, str]) -> str:
    """Sentence on those masks whose names have an ending more."""
    endings = '" or "'.join(sorted({mask[len(image_of[mask]) :] for mask in masks}))
    some = "some " * (len(masks) < len(image_of))
    return f'The masks are called like their images, {some}with "{endings}" at the end.'


def by_words(images: Collection[str], masks: Collection[str], called: str = "masks") -> Matching | None:
    """Match names by what is left without the words that all images, or all masks, have and the others have not.

    Capital letters and signs between words do not count, nor zeros and signs before a number where it goes without, nor
    do numbers at an end that are the same in all files of one folder and that the other folder has not. None where
    there is no such rule: nothing is left, two files of a folder would be the same, most files have no partner, numbers
    or roles (train, test) would have to be exchanged, or the images are called masks. `called` is what the rule calls
    the masks.
    """
    found = [_by_tokens(images, masks, loose, called) for loose in (False, True)]
    return max(filter(None, found), key=lambda one: len(one.image_of), default=None)


def _by_tokens(images: Collection[str], masks: Collection[str], loose: bool, called: str) -> Matching | None:
    """See `by_words`; `loose`: zeros and signs before numbers do not count."""
    sides = [{key: _tokens(key, loose) for key in keys} for keys in (images, masks)]
    usual = [_usual(side.values()) for side in sides]
    dropped = [usual[0] - usual[1], usual[1] - usual[0]]
    if _exchanges_roles(*dropped) or (dropped[0] & MASK_WORDS and not dropped[1] & MASK_WORDS):
        return None
    left = [
        {key: tuple(one for one in its if one not in words) for key, its in side.items()}
        for side, words in zip(sides, dropped, strict=True)
    ]
    image_of = max(_candidates(*left), key=len)  # the first of the best
    sure = not all(dropped) or dropped[1] <= MASK_WORDS
    if len(image_of) < max(1, USUAL * min(len(images), len(masks)), 0 if sure else FEW):
        return None
    return Matching(image_of, _said(image_of, sides, dropped, called), sure)


def _tokens(key: str, loose: bool) -> tuple[str, ...]:
    """Words and numbers of a key."""
    found = TOKENS[loose].findall(HUMP.sub(" ", normalize("NFKC", key)).casefold())
    return tuple(one.lstrip("0") or "0" if loose and one.isdecimal() else one for one in found)


def _usual(side: Collection[tuple[str, ...]]) -> set[str]:
    """Words, not numbers, that most names of a folder have."""
    counts = Counter(one for its in side for one in set(its) if one.isalpha())
    return {one for one, count in counts.items() if count >= USUAL * len(side)}


def _exchanges_roles(images: set[str], masks: set[str]) -> bool:
    """Whether images of one role would get the masks of another."""
    roles = [{i for i, words in enumerate(ROLE_WORDS) if words & side} for side in (images, masks)]
    return all(roles) and roles[0] != roles[1]


def _candidates(images: dict[str, tuple], masks: dict[str, tuple]) -> list[dict[str, str]]:
    """Matchings of what is left of the names, as it is or with the numbers left out that one folder adds."""
    found = [_joined(images, masks)]
    for numbers in NUMBERS:
        found.append(_joined(_without(images, *numbers), masks))
        found.append(_joined(images, _without(masks, *numbers)))
    return found


def _without(side: dict[str, tuple], first: int, last: int) -> dict[str, tuple]:
    """Names without so many numbers at both ends, where these are usual; empty if they are not."""
    ends = {key: (its[:first], its[len(its) - last :]) for key, its in side.items() if len(its) > first + last}
    if not ends:
        return {}
    usual, count = Counter(ends.values()).most_common(1)[0]
    if count < USUAL * len(side) or not all(one.isdecimal() for end in usual for one in end):
        return {}
    return {key: its[first : len(its) - last] if ends.get(key) == usual else its for key, its in side.items()}


def _joined(images: dict[str, tuple], masks: dict[str, tuple]) -> dict[str, str]:
    """Key of the image of each mask that has the same left; nothing where two files of a folder have the same."""
    owner = {its: key for key, its in images.items() if its}
    if len(owner) < len(images) or len(set(masks.values())) < len(masks):
        return {}
    return {key: owner[its] for key, its in masks.items() if its in owner}


def _said(image_of: dict[str, str], sides: Sequence[dict[str, tuple]], dropped: Sequence[set[str]], called: str) -> str:
    """The rule as a sentence, with an example."""
    mask, image = min(image_of.items(), key=lambda one: (one[1], one[0]))
    less, more = (
        " ".join(one for one in side[key] if one in words)
        for side, key, words in zip(sides, (image, mask), dropped, strict=True)
    )
    how = f'with "{more}" in place of "{less}"' if less and more else f'with "{more}" more' if more else ""
    how = how or (f'without "{less}"' if less else "apart from signs, zeros, capital letters or a number")
    return f"The {called} are called like their images {how}: {mask} belongs to {image}."
