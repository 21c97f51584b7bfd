"""The character classes of BERT's tokenizer, frozen.

Which characters are punctuation, accents or control characters is decided by a version of Unicode,
and every Python release brings another. Vocabulary and weights do not change with it, so ids must
not either. The classes below are therefore data: those of the reference, Hugging Face `tokenizers`
0.23.3, which mixes three versions (general categories of Unicode 8, decompositions of 9, lower case
of 17). They were read off it by asking it about every code point;
`tests/tokenizer/read_reference.py` does that again and compares.

Two properties still come from Python's `unicodedata`: the canonical decomposition of the characters
in `DECOMPOSED` and the combining class of the marks. Unicode guarantees that neither ever changes
for a character that has one (https://www.unicode.org/policies/stability_policy.html).

Notation: hexadecimal code points, `41-5A` for a range. In `LOWERCASE`, `41-5A+20` adds 20 to each
of the range and `100=12E+1` adds 1 to every second one.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

# Deleted: U+0000, U+FFFD, control (but tab, line feed, carriage return), format, private use.
REMOVED = """
0-8 B-C E-1F 7F-9F AD 600-605 61C 6DD 70F 180E 200B-200F 202A-202E 2060-2064 2066-206F E000-F8FF
FEFF FFF9-FFFB FFFD 110BD 1BCA0-1BCA3 1D173-1D17A E0001 E0020-E007F F0000-FFFFD 100000-10FFFD"""

# Turned into U+0020.
SPACES = """
9-A D 20 A0 1680 2000-200A 2028-2029 202F 205F 3000"""

# A word of its own each: CJK ideographs, not kana or Hangul. The gap 2B820-2B91F (a part of
# extension E) is the reference's; Google's original has none.
IDEOGRAPHS = "3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F"

# A word of its own each: all ASCII symbols, and categories P*.
PUNCTUATION = """
21-2F 3A-40 5B-60 7B-7E A1 A7 AB B6-B7 BB BF 37E 387 55A-55F 589-58A 5BE 5C0 5C3 5C6 5F3-5F4
609-60A 60C-60D 61B 61E-61F 66A-66D 6D4 700-70D 7F7-7F9 830-83E 85E 964-965 970 AF0 DF4 E4F E5A-E5B
F04-F12 F14 F3A-F3D F85 FD0-FD4 FD9-FDA 104A-104F 10FB 1360-1368 1400 166D-166E 169B-169C 16EB-16ED
1735-1736 17D4-17D6 17D8-17DA 1800-180A 1944-1945 1A1E-1A1F 1AA0-1AA6 1AA8-1AAD 1B5A-1B60 1BFC-1BFF
1C3B-1C3F 1C7E-1C7F 1CC0-1CC7 1CD3 2010-2027 2030-2043 2045-2051 2053-205E 207D-207E 208D-208E
2308-230B 2329-232A 2768-2775 27C5-27C6 27E6-27EF 2983-2998 29D8-29DB 29FC-29FD 2CF9-2CFC 2CFE-2CFF
2D70 2E00-2E2E 2E30-2E42 3001-3003 3008-3011 3014-301F 3030 303D 30A0 30FB A4FE-A4FF A60D-A60F A673
A67E A6F2-A6F7 A874-A877 A8CE-A8CF A8F8-A8FA A8FC A92E-A92F A95F A9C1-A9CD A9DE-A9DF AA5C-AA5F
AADE-AADF AAF0-AAF1 ABEB FD3E-FD3F FE10-FE19 FE30-FE52 FE54-FE61 FE63 FE68 FE6A-FE6B FF01-FF03
FF05-FF0A FF0C-FF0F FF1A-FF1B FF1F-FF20 FF3B-FF3D FF3F FF5B FF5D FF5F-FF65 10100-10102 1039F 103D0
1056F 10857 1091F 1093F 10A50-10A58 10A7F 10AF0-10AF6 10B39-10B3F 10B99-10B9C 11047-1104D
110BB-110BC 110BE-110C1 11140-11143 11174-11175 111C5-111C9 111CD 111DB 111DD-111DF 11238-1123D
112A9 114C6 115C1-115D7 11641-11643 1173C-1173E 12470-12474 16A6E-16A6F 16AF5 16B37-16B3B 16B44
1BC9F 1DA87-1DA8B"""

# Dropped with the accents: category Mn.
MARKS = """
300-33F 342 345-36F 483-487 591-5BD 5BF 5C1-5C2 5C4-5C5 5C7 610-61A 64B-65F 670 6D6-6DC 6DF-6E4
6E7-6E8 6EA-6ED 711 730-74A 7A6-7B0 7EB-7F3 816-819 81B-823 825-827 829-82D 859-85B 8E3-902 93A 93C
941-948 94D 951-957 962-963 981 9BC 9C1-9C4 9CD 9E2-9E3 A01-A02 A3C A41-A42 A47-A48 A4B-A4D A51
A70-A71 A75 A81-A82 ABC AC1-AC5 AC7-AC8 ACD AE2-AE3 B01 B3C B3F B41-B44 B4D B56 B62-B63 B82 BC0 BCD
C00 C3E-C40 C46-C47 C4A-C4D C55-C56 C62-C63 C81 CBC CBF CC6 CCC-CCD CE2-CE3 D01 D41-D44 D4D D62-D63
DCA DD2-DD4 DD6 E31 E34-E3A E47-E4E EB1 EB4-EB9 EBB-EBC EC8-ECD F18-F19 F35 F37 F39 F71-F72 F74 F77
F79-F7E F80 F82-F84 F86-F87 F8D-F92 F94-F97 F99-F9C F9E-FA1 FA3-FA6 FA8-FAB FAD-FB8 FBA-FBC FC6
102D-1030 1032-1037 1039-103A 103D-103E 1058-1059 105E-1060 1071-1074 1082 1085-1086 108D 109D
135D-135F 1712-1714 1732-1734 1752-1753 1772-1773 17B4-17B5 17B7-17BD 17C6 17C9-17D3 17DD 180B-180D
18A9 1920-1922 1927-1928 1932 1939-193B 1A17-1A18 1A1B 1A56 1A58-1A5E 1A60 1A62 1A65-1A6C 1A73-1A7C
1A7F 1AB0-1ABD 1B00-1B03 1B34 1B36-1B3A 1B3C 1B42 1B6B-1B73 1B80-1B81 1BA2-1BA5 1BA8-1BA9 1BAB-1BAD
1BE6 1BE8-1BE9 1BED 1BEF-1BF1 1C2C-1C33 1C36-1C37 1CD0-1CD2 1CD4-1CE0 1CE2-1CE8 1CED 1CF4 1CF8-1CF9
1DC0-1DF5 1DFC-1DFF 20D0-20DC 20E1 20E5-20F0 2CEF-2CF1 2D7F 2DE0-2DFF 302A-302D 3099-309A A66F
A674-A67D A69E-A69F A6F0-A6F1 A802 A806 A80B A825-A826 A8C4 A8E0-A8F1 A926-A92D A947-A951 A980-A982
A9B3 A9B6-A9B9 A9BC A9E5 AA29-AA2E AA31-AA32 AA35-AA36 AA43 AA4C AA7C AAB0 AAB2-AAB4 AAB7-AAB8
AABE-AABF AAC1 AAEC-AAED AAF6 ABE5 ABE8 ABED FB1E FE00-FE0F FE20-FE2F 101FD 102E0 10376-1037A
10A01-10A03 10A05-10A06 10A0C-10A0F 10A38-10A3A 10A3F 10AE5-10AE6 11001 11038-11046 1107F-11081
110B3-110B6 110B9-110BA 11100-11102 11127-1112B 1112D 11130-11134 11173 11180-11181 111B6-111BE
111CA-111CC 1122F-11231 11234 11236-11237 112DF 112E3-112EA 11300-11301 1133C 11340 11366-1136C
11370-11374 114B3-114B8 114BA 114BF-114C0 114C2-114C3 115B2-115B5 115BC-115BD 115BF-115C0
115DC-115DD 11633-1163A 1163D 1163F-11640 116AB 116AD 116B0-116B5 116B7 1171D-1171F 11722-11725
11727-1172B 16AF0-16AF4 16B30-16B36 16F8F-16F92 1BC9D-1BC9E 1D167-1D169 1D17B-1D182 1D185-1D18B
1D1AA-1D1AD 1D242-1D244 1DA00-1DA36 1DA3B-1DA6C 1DA75 1DA84 1DA9B-1DA9F 1DAA1-1DAAF 1E8D0-1E8D6
E0100-E01EF"""

# Not dropped, but they have a combining class, so that they trade places with marks next to them.
KEPT_MARKS = """
8D4-8E1 1B44 1BAA 1BF2-1BF3 1DFB 302E-302F A953 A9C0 111C0 11235 1134D 11442 11446 116B6 11C3F
1D165-1D166 1D16D-1D172 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E944-1E94A"""

# Those that have a canonical decomposition.
DECOMPOSED = """
C0-C5 C7-CF D1-D6 D9-DD E0-E5 E7-EF F1-F6 F9-FD FF-10F 112-125 128-130 134-137 139-13E 143-148
14C-151 154-165 168-17E 1A0-1A1 1AF-1B0 1CD-1DC 1DE-1E3 1E6-1F0 1F4-1F5 1F8-21B 21E-21F 226-233
340-341 343-344 374 37E 385-38A 38C 38E-390 3AA-3B0 3CA-3CE 3D3-3D4 400-401 403 407 40C-40E 419 439
450-451 453 457 45C-45E 476-477 4C1-4C2 4D0-4D3 4D6-4D7 4DA-4DF 4E2-4E7 4EA-4F5 4F8-4F9 622-626 6C0
6C2 6D3 929 931 934 958-95F 9CB-9CC 9DC-9DD 9DF A33 A36 A59-A5B A5E B48 B4B-B4C B5C-B5D B94 BCA-BCC
C48 CC0 CC7-CC8 CCA-CCB D4A-D4C DDA DDC-DDE F43 F4D F52 F57 F5C F69 F73 F75-F76 F78 F81 F93 F9D FA2
FA7 FAC FB9 1026 1B06 1B08 1B0A 1B0C 1B0E 1B12 1B3B 1B3D 1B40-1B41 1B43 1E00-1E99 1E9B 1EA0-1EF9
1F00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE
1FC1-1FC4 1FC6-1FD3 1FD6-1FDB 1FDD-1FEF 1FF2-1FF4 1FF6-1FFD 2000-2001 2126 212A-212B 219A-219B 21AE
21CD-21CF 2204 2209 220C 2224 2226 2241 2244 2247 2249 2260 2262 226D-2271 2274-2275 2278-2279
2280-2281 2284-2285 2288-2289 22AC-22AF 22E0-22E3 22EA-22ED 2329-232A 2ADC 304C 304E 3050 3052 3054
3056 3058 305A 305C 305E 3060 3062 3065 3067 3069 3070-3071 3073-3074 3076-3077 3079-307A 307C-307D
3094 309E 30AC 30AE 30B0 30B2 30B4 30B6 30B8 30BA 30BC 30BE 30C0 30C2 30C5 30C7 30C9 30D0-30D1
30D3-30D4 30D6-30D7 30D9-30DA 30DC-30DD 30F4 30F7-30FA 30FE AC00-D7A3 F900-FA0D FA10 FA12 FA15-FA1E
FA20 FA22 FA25-FA26 FA2A-FA6D FA70-FAD9 FB1D FB1F FB2A-FB36 FB38-FB3C FB3E FB40-FB41 FB43-FB44
FB46-FB4E 1109A 1109C 110AB 1112E-1112F 1134B-1134C 114BB-114BC 114BE 115BA-115BB 1D15E-1D164
1D1BB-1D1C0 2F800-2FA1D"""

# Capitals and what leads to their small letter; U+0130 alone becomes two characters.
LOWERCASE = """
41-5A+20 C0-D6+20 D8-DE+20 100=12E+1 132=136+1 139=147+1 14A=176+1 178-79 179=17D+1 181+D2
182=184+1 186+CE 187+1 189-18A+CD 18B+1 18E+4F 18F+CA 190+CB 191+1 193+CD 194+CF 196+D3 197+D1
198+1 19C+D3 19D+D5 19F+D6 1A0=1A4+1 1A6+DA 1A7+1 1A9+DA 1AC+1 1AE+DA 1AF+1 1B1-1B2+D9 1B3=1B5+1
1B7+DB 1B8+1 1BC+1 1C4+2 1C5+1 1C7+2 1C8+1 1CA+2 1CB=1DB+1 1DE=1EE+1 1F1+2 1F2=1F4+1 1F6-61 1F7-38
1F8=21E+1 220-82 222=232+1 23A+2A2B 23B+1 23D-A3 23E+2A28 241+1 243-C3 244+45 245+47 246=24E+1
370=372+1 376+1 37F+74 386+26 388-38A+25 38C+40 38E-38F+3F 391-3A1+20 3A3-3AB+20 3CF+8 3D8=3EE+1
3F4-3C 3F7+1 3F9-7 3FA+1 3FD-3FF-82 400-40F+50 410-42F+20 460=480+1 48A=4BE+1 4C0+F 4C1=4CD+1
4D0=52E+1 531-556+30 10A0-10C5+1C60 10C7+1C60 10CD+1C60 13A0-13EF+97D0 13F0-13F5+8 1C89+1
1C90-1CBA-BC0 1CBD-1CBF-BC0 1E00=1E94+1 1E9E-1DBF 1EA0=1EFE+1 1F08-1F0F-8 1F18-1F1D-8 1F28-1F2F-8
1F38-1F3F-8 1F48-1F4D-8 1F59=1F5F-8 1F68-1F6F-8 1F88-1F8F-8 1F98-1F9F-8 1FA8-1FAF-8 1FB8-1FB9-8
1FBA-1FBB-4A 1FBC-9 1FC8-1FCB-56 1FCC-9 1FD8-1FD9-8 1FDA-1FDB-64 1FE8-1FE9-8 1FEA-1FEB-70 1FEC-7
1FF8-1FF9-80 1FFA-1FFB-7E 1FFC-9 2126-1D5D 212A-20BF 212B-2046 2132+1C 2160-216F+10 2183+1
24B6-24CF+1A 2C00-2C2F+30 2C60+1 2C62-29F7 2C63-EE6 2C64-29E7 2C67=2C6B+1 2C6D-2A1C 2C6E-29FD
2C6F-2A1F 2C70-2A1E 2C72+1 2C75+1 2C7E-2C7F-2A3F 2C80=2CE2+1 2CEB=2CED+1 2CF2+1 A640=A66C+1
A680=A69A+1 A722=A72E+1 A732=A76E+1 A779=A77B+1 A77D-8A04 A77E=A786+1 A78B+1 A78D-A528 A790=A792+1
A796=A7A8+1 A7AA-A544 A7AB-A54F A7AC-A54B A7AD-A541 A7AE-A544 A7B0-A512 A7B1-A52A A7B2-A515
A7B3+3A0 A7B4=A7C2+1 A7C4-30 A7C5-A543 A7C6-8A38 A7C7=A7C9+1 A7CB-A567 A7CC=A7DA+1 A7DC-A641 A7F5+1
FF21-FF3A+20 10400-10427+28 104B0-104D3+28 10570-1057A+27 1057C-1058A+27 1058C-10592+27
10594-10595+27 10C80-10CB2+40 10D50-10D65+20 118A0-118BF+20 16E40-16E5F+20 16EA0-16EB8+1B
1E900-1E921+22"""


class CodePoints:
    """A set of characters, kept as sorted ranges.

    >>> vowels = CodePoints("41 45 49 4F 55")
    >>> "E" in vowels, "F" in vowels
    (True, False)
    """

    def __init__(self, ranges: str) -> None:
        pairs = sorted(
            (int(first, 16), int(last or first, 16))
            for first, _, last in (entry.partition("-") for entry in ranges.split())
        )
        self.starts = [first for first, _ in pairs]
        self.ends = [last for _, last in pairs]

    def __contains__(self, char: str) -> bool:
        code = ord(char)
        index = bisect(self.starts, code) - 1
        return index >= 0 and code <= self.ends[index]

    @property
    def pattern(self) -> str:
        """The inside of a regular expression's character class."""
        pairs = zip(self.starts, self.ends, strict=True)
        return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in pairs)


def _lowercase_table(entries: str) -> dict[int, str]:
    table = {0x130: "i\u0307"}
    for entry in entries.split():
        sign = "+" if "+" in entry else "-"
        codes, _, distance = entry.rpartition(sign)
        first, _, last = codes.replace("=", "-").partition("-")
        step = 2 if "=" in codes else 1
        for code in range(int(first, 16), int(last or first, 16) + 1, step):
            table[code] = chr(code + int(sign + distance, 16))
    return table


class CharacterRules(NamedTuple):
    """One tokenizer's character classes, and four switches in which tokenizers differ."""

    removed: CodePoints
    spaces: CodePoints
    ideographs: CodePoints
    punctuation: CodePoints
    marks: CodePoints
    reordered: CodePoints  # characters whose combining class counts
    decomposed: CodePoints
    lower: Callable[[str], str]
    lower_first: bool  # before the accents, and looking at the whole word
    longest_word: int  # in characters; longer ones are [UNK]
    special_in_text: bool  # "[MASK]" typed in a text is the special token


_LOWER = _lowercase_table(LOWERCASE)


def _lower(text: str) -> str:
    return text.translate(_LOWER)


REFERENCE = CharacterRules(
    removed=CodePoints(REMOVED),
    spaces=CodePoints(SPACES),
    ideographs=CodePoints(IDEOGRAPHS),
    punctuation=CodePoints(PUNCTUATION),
    marks=CodePoints(MARKS),
    reordered=CodePoints(MARKS + " " + KEPT_MARKS),
    decomposed=CodePoints(DECOMPOSED),
    lower=_lower,
    lower_first=False,
    longest_word=100,
    special_in_text=True,
)


def _ranges(codes: Iterable[int]) -> CodePoints:
    return CodePoints(" ".join(f"{code:X}" for code in codes))


@lru_cache(maxsize=1)
def google_rules() -> CharacterRules:
    """The rules of Google's original, `tokenization.py` of google-research/bert.

    The classes are read from `unicodedata`, so that they are those of the running Python, as they
    were there. The first call asks about all 1.1 million code points, later calls do not.
    """
    members: dict[str, list[int]] = {"Cc": [], "Cf": [], "Zs": [], "Mn": [], "P": []}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        category = "P" if category[0] == "P" else category
        if category in members:
            members[category].append(code)
    layout = {0x9, 0xA, 0xD}
    ascii_symbols = [c for c in range(0x21, 0x7F) if not chr(c).isalnum()]
    everything = CodePoints("0-10FFFF")
    return CharacterRules(
        removed=_ranges(({*members["Cc"], *members["Cf"], 0xFFFD}) - layout),
        # the line and paragraph separators are not cleaned there, but Python splits at them
        spaces=_ranges({*members["Zs"], *layout, 0x2028, 0x2029}),
        ideographs=CodePoints(IDEOGRAPHS.replace("2A700-2B81F 2B920", "2A700")),
        punctuation=_ranges({*members["P"], *ascii_symbols}),
        marks=_ranges(members["Mn"]),
        reordered=everything,
        decomposed=everything,
        lower=str.lower,
        lower_first=True,
        longest_word=200,
        special_in_text=False,
    )
