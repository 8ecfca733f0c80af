"""Publications that a model may rest on, as BibTeX and in one line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """A publication: kind of BibTeX entry, authors joined by "and", year, title, and further fields."""

    kind: str
    authors: str
    year: int
    title: str
    more: Mapping[str, str]


def _article(authors: str, year: int, title: str, journal: str, volume: str, pages: str, doi: str = "") -> Entry:
    more = {"journal": journal, "volume": volume, "pages": pages, "doi": doi}
    return Entry("article", authors, year, title, {name: text for name, text in more.items() if text})


def _talk(authors: str, year: int, title: str, book: str, pages: str = "", doi: str = "") -> Entry:
    more = {"booktitle": book, "pages": pages, "doi": doi}
    return Entry("inproceedings", authors, year, title, {name: text for name, text in more.items() if text})


MEDICAL = "Medical Image Computing and Computer-Assisted Intervention (MICCAI)"
IMAGING = "IEEE Transactions on Medical Imaging"
PATTERNS = "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"
ENTRIES: dict[str, Entry] = {
    "abadi2016": _talk(
        "Abadi, Martín and Barham, Paul and Chen, Jianmin and others",
        2016,
        "TensorFlow: a system for large-scale machine learning",
        "12th USENIX Symposium on Operating Systems Design and Implementation (OSDI)",
        "265--283",
    ),
    "breiman2001": _article(
        "Breiman, Leo", 2001, "Random forests", "Machine Learning", "45", "5--32", "10.1023/A:1010933404324"
    ),
    "caicedo2019": _article(
        "Caicedo, Juan C. and Goodman, Allen and Karhohs, Kyle W. and others",
        2019,
        "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl",
        "Nature Methods",
        "16",
        "1247--1253",
        "10.1038/s41592-019-0612-7",
    ),
    "chollet2015": Entry(
        "misc", "Chollet, François and others", 2015, "Keras", {"howpublished": r"\url{https://keras.io}"}
    ),
    "deng2009": _talk(
        "Deng, Jia and Dong, Wei and Socher, Richard and Li, Li-Jia and Li, Kai and Fei-Fei, Li",
        2009,
        "ImageNet: a large-scale hierarchical image database",
        PATTERNS,
        "248--255",
        "10.1109/CVPR.2009.5206848",
    ),
    "geurts2006": _article(
        "Geurts, Pierre and Ernst, Damien and Wehenkel, Louis",
        2006,
        "Extremely randomized trees",
        "Machine Learning",
        "63",
        "3--42",
        "10.1007/s10994-006-6226-1",
    ),
    "guo2017": _talk(
        "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
        2017,
        "On calibration of modern neural networks",
        "34th International Conference on Machine Learning (ICML)",
        "1321--1330",
    ),
    "he2016": _talk(
        "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        2016,
        "Deep residual learning for image recognition",
        PATTERNS,
        "770--778",
        "10.1109/CVPR.2016.90",
    ),
    "jordan2024": Entry(
        "misc",
        "Jordan, Keller and Jin, Yuchen and Boza, Vlado and others",
        2024,
        "Muon: an optimizer for hidden layers in neural networks",
        {"howpublished": r"\url{https://kellerjordan.github.io/posts/muon/}"},
    ),
    "kingma2015": _talk(
        "Kingma, Diederik P. and Ba, Jimmy",
        2015,
        "Adam: a method for stochastic optimization",
        "3rd International Conference on Learning Representations (ICLR)",
        doi="10.48550/arXiv.1412.6980",
    ),
    "korn1998": _article(
        "Korn, Edward L. and Graubard, Barry I.",
        1998,
        "Confidence intervals for proportions with small expected number of positive counts estimated from survey data",
        "Survey Methodology",
        "24",
        "193--201",
    ),
    "kumar2020": _article(
        "Kumar, Neeraj and Verma, Ruchika and Anand, Deepak and others",
        2020,
        "A multi-organ nucleus segmentation challenge",
        IMAGING,
        "39",
        "1380--1391",
        "10.1109/TMI.2019.2947628",
    ),
    "liu2025": Entry(
        "misc",
        "Liu, Jingyuan and Su, Jianlin and Yao, Xingcheng and others",
        2025,
        "Muon is scalable for LLM training",
        {"doi": "10.48550/arXiv.2502.16982"},
    ),
    "loshchilov2017": _talk(
        "Loshchilov, Ilya and Hutter, Frank",
        2017,
        "SGDR: stochastic gradient descent with warm restarts",
        "5th International Conference on Learning Representations (ICLR)",
        doi="10.48550/arXiv.1608.03983",
    ),
    "milletari2016": _talk(
        "Milletari, Fausto and Navab, Nassir and Ahmadi, Seyed-Ahmad",
        2016,
        "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
        "Fourth International Conference on 3D Vision (3DV)",
        "565--571",
        "10.1109/3DV.2016.79",
    ),
    "naylor2019": _article(
        "Naylor, Peter and Laé, Marick and Reyal, Fabien and Walter, Thomas",
        2019,
        "Segmentation of nuclei in histopathology images by deep regression of the distance map",
        IMAGING,
        "38",
        "448--459",
        "10.1109/TMI.2018.2865709",
    ),
    "newcombe1998": _article(
        "Newcombe, Robert G.",
        1998,
        "Improved confidence intervals for the difference between binomial proportions based on paired data",
        "Statistics in Medicine",
        "17",
        "2635--2650",
    ),
    "northcutt2021": _article(
        "Northcutt, Curtis G. and Jiang, Lu and Chuang, Isaac L.",
        2021,
        "Confident learning: estimating uncertainty in dataset labels",
        "Journal of Artificial Intelligence Research",
        "70",
        "1373--1411",
        "10.1613/jair.1.12125",
    ),
    "otsu1979": _article(
        "Otsu, Nobuyuki",
        1979,
        "A threshold selection method from gray-level histograms",
        "IEEE Transactions on Systems, Man, and Cybernetics",
        "9",
        "62--66",
        "10.1109/TSMC.1979.4310076",
    ),
    "pedregosa2011": _article(
        "Pedregosa, Fabian and Varoquaux, Gaël and Gramfort, Alexandre and others",
        2011,
        "Scikit-learn: machine learning in Python",
        "Journal of Machine Learning Research",
        "12",
        "2825--2830",
    ),
    "ronneberger2015": _talk(
        "Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas",
        2015,
        "U-Net: convolutional networks for biomedical image segmentation",
        MEDICAL,
        "234--241",
        "10.1007/978-3-319-24574-4_28",
    ),
    "sandler2018": _talk(
        "Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and Chen, Liang-Chieh",
        2018,
        "MobileNetV2: inverted residuals and linear bottlenecks",
        PATTERNS,
        "4510--4520",
        "10.1109/CVPR.2018.00474",
    ),
    "schmidt2018": _talk(
        "Schmidt, Uwe and Weigert, Martin and Broaddus, Coleman and Myers, Gene",
        2018,
        "Cell detection with star-convex polygons",
        MEDICAL,
        "265--273",
        "10.1007/978-3-030-00934-2_30",
    ),
    "tan2019": _talk(
        "Tan, Mingxing and Le, Quoc V.",
        2019,
        "EfficientNet: rethinking model scaling for convolutional neural networks",
        "36th International Conference on Machine Learning (ICML)",
        "6105--6114",
    ),
    "tellez2018": _article(
        "Tellez, David and Balkenhol, Maschenka and Otte-Höller, Irene and others",
        2018,
        "Whole-slide mitosis detection in H&E breast histology using PHH3 as a reference to train distilled "
        "stain-invariant convolutional networks",
        IMAGING,
        "37",
        "2126--2136",
        "10.1109/TMI.2018.2820199",
    ),
    "vanderwalt2014": _article(
        "van der Walt, Stéfan and Schönberger, Johannes L. and Nunez-Iglesias, Juan and others",
        2014,
        "scikit-image: image processing in Python",
        "PeerJ",
        "2",
        "e453",
        "10.7717/peerj.453",
    ),
    "vincent1991": _article(
        "Vincent, Luc and Soille, Pierre",
        1991,
        "Watersheds in digital spaces: an efficient algorithm based on immersion simulations",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        "13",
        "583--598",
        "10.1109/34.87344",
    ),
    "weigert2018": _article(
        "Weigert, Martin and Schmidt, Uwe and Boothe, Tobias and others",
        2018,
        "Content-aware image restoration: pushing the limits of fluorescence microscopy",
        "Nature Methods",
        "15",
        "1090--1097",
        "10.1038/s41592-018-0216-7",
    ),
    "weigert2022": _talk(
        "Weigert, Martin and Schmidt, Uwe",
        2022,
        "Nuclei instance segmentation and classification in histopathology images with StarDist",
        "IEEE International Symposium on Biomedical Imaging Challenges (ISBIC)",
        doi="10.1109/ISBIC56247.2022.9854534",
    ),
    "wilson1927": _article(
        "Wilson, Edwin B.",
        1927,
        "Probable inference, the law of succession, and statistical inference",
        "Journal of the American Statistical Association",
        "22",
        "209--212",
        "10.1080/01621459.1927.10502953",
    ),
}
DOI = re.compile(r"10\.\d{4,9}/[^\s,;()\"'<>{}]+")


def named_in(text: str) -> list[str]:
    """Keys of the `ENTRIES` whose DOI is in a text, as in what is said of the origin of images."""
    given = {doi.rstrip(".").lower() for doi in DOI.findall(text)}
    return [key for key, entry in ENTRIES.items() if entry.more.get("doi", "-").lower() in given]


def of_data(text: str) -> Entry | None:
    """Entry for images that only their maker's own text names, by the DOI in it; None without a DOI."""
    given = [doi.rstrip(".") for doi in DOI.findall(text)]
    return None if named_in(text) or not given else Entry("misc", "", 0, f"Training images: {text}", {"doi": given[0]})


def bibtex(entries: Mapping[str, Entry]) -> str:
    """A BibTeX file, UTF-8, in the order of the keys."""
    return "\n".join(_bibtex(key, entries[key]) for key in sorted(entries))


def _bibtex(key: str, entry: Entry) -> str:
    fields = {"author": entry.authors, "title": f"{{{_escaped(entry.title)}}}", "year": entry.year or "", **entry.more}
    texts = [f"  {name} = {{{text}}}," for name, text in fields.items() if text]
    return "\n".join([f"@{entry.kind}{{{key},", *texts, "}\n"])


def _escaped(text: str) -> str:
    """Text whose signs mean nothing to LaTeX; braces, which BibTeX counts, are left out."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[{}\\]", "", text))


def in_one_line(entry: Entry) -> str:
    """A publication as a list of references shows it."""
    place = entry.more.get("journal", entry.more.get("booktitle", ""))
    where = " ".join(filter(None, [place, entry.more.get("volume", "")]))
    pages, doi = (entry.more.get(name, "") for name in ("pages", "doi"))
    where += f": {pages.replace('--', '–')}" if pages else ""
    year = f" ({entry.year})" if entry.year else ""
    parts = [f"{_people(entry.authors)}{year}".strip(), entry.title, where, f"doi:{doi}" if doi else ""]
    return ". ".join(filter(None, parts)) + "."


def _people(authors: str) -> str:
    """Authors as "Otsu N", "Weigert M, Schmidt U", "Abadi M et al."."""
    names = [name.partition(", ") for name in authors.split(" and ") if name and name != "others"]
    short = [f"{last} {''.join(part[0] for part in re.split(r'[ -]', first))}" for last, _, first in names]
    more = authors.endswith("others") or len(short) > 3
    return f"{short[0]} et al." if more and short else ", ".join(short)


def cited(key: str) -> str:
    """How a sentence names a publication: "Ronneberger et al. 2015"."""
    entry = ENTRIES[key]
    names = [name.partition(", ")[0] for name in entry.authors.split(" and ")]
    people = names[0] if len(names) == 1 else f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} et al."
    return f"{people.replace(' and others', ' et al.')} {entry.year}"


def gathered(keys: Iterable[str], images: Sequence[str]) -> dict[str, Entry]:
    """Key -> entry of publications, and of what texts on the origin of `images` name."""
    found = {key: ENTRIES[key] for key in keys}
    for number, text in enumerate(images, start=1):
        found |= {key: ENTRIES[key] for key in named_in(text)}
        if (own := of_data(text)) is not None:
            found[f"images{number}"] = own
    return found
