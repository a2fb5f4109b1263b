"""Made-up text in 20 scripts with emoji, marks, controls and odd spaces; the same for a seed."""
import random

SCRIPTS = [(0x61, 0x7A), (0x41, 0x5A), (0xE0, 0xFF), (0x100, 0x17F), (0x3B1, 0x3C9), (0x391, 0x3A1), (0x430, 0x44F),
           (0x561, 0x586), (0x5D0, 0x5EA), (0x621, 0x64A), (0x904, 0x94D), (0x985, 0x9CD), (0xA05, 0xA4D), (0xB85, 0xBCD),
           (0xC05, 0xC4D), (0xE01, 0xE4D), (0x10D0, 0x10F0), (0x1200, 0x1248), (0x1780, 0x17D2), (0x3041, 0x3096),
           (0x30A1, 0x30FC), (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xFF01, 0xFF5E), (0x1D400, 0x1D430), (0x300, 0x32F)]
WORDS = ("the of and to in is that it for was on are as with his they at be this have from or one had by word but not "
         "what all were we when your can said there use an each which she do how their if will up other about out many "
         "then them these so some her would make like him into time has look two more write go see number no way could "
         "people my than first water been call who oil its now find long down day did get come made may part").split()
CODE = ["def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "SELECT * FROM t WHERE a='b';",
        "<div class=\"x\">&amp;</div>", "{\"a\": [1, 2.5e-3, null]}\n", "#include <stdio.h>\r\n", "x_y__z = camelCaseHTTPServer"]
ODD = ["\t", "\r", "\x00", "\x01", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\xa0", "\xad", "\u1680", "\u180e", "\u2003",
       "\u200b", "\u200c", "\u200d", "\u200e", "\u2028", "\u2029", "\u202e", "\u2060", "\u3000", "\ufeff", "\ufffd", "\ufffe",
       "\U000e0001", "\U0010ffff", "\u0378", "\ue000", "\u2581", "\u0130", "\u0131", "\u017f", "\u1e9e", "\u212a", "\ufb01",
       "\u00bd", "\u2167", "\u24b6", "\u0149", "\u01c5", "\u0345", "\u1fb3", "\u0f73", "\u3099", "\uac01", "\u1100\u1161\u11a8"]
EMOJI = ["\U0001f600", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea",
         "#\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f"]
SHORT = ["I'm", "we'LL", "don't", "HE'S", "they've", "it's", "\u2019s", "'tis", "O'Neil", "...", "--", "!?", "$9.99", "50%", "a@b.co",
         "http://x.y/z?q=1#f", "3.14", "1,000,000", "0x1F", "2024-11-29", "\u0663\u0664\u0665", "12345678", "\u4e09\u5341", "C++", "\u00abq\u00bb"]


def word(rng):
    kind = rng.random()
    if kind < 0.45:
        w = rng.choice(WORDS)
        return w if rng.random() < 0.8 else rng.choice([w.title(), w.upper()])
    if kind < 0.80:
        low, high = rng.choice(SCRIPTS)
        w = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 7)))
        return w if rng.random() < 0.85 else w + chr(rng.randint(0x300, 0x345))
    if kind < 0.90:
        return rng.choice(SHORT)
    if kind < 0.93:
        return rng.choice(EMOJI)
    if kind < 0.97:
        return rng.choice(ODD)
    return "".join(chr(rng.choice([rng.randint(0x20, 0x7E), rng.randint(0x80, 0x2FF), rng.randint(0x2000, 0x2BFF)])) for _ in range(rng.randint(1, 5)))


def sentence(rng):
    out = []
    for _ in range(rng.randint(1, 24)):
        out.append(word(rng))
        gap = rng.random()
        out.append(" " if gap < 0.80 else "" if gap < 0.88 else " " * rng.randint(2, 9) if gap < 0.94 else rng.choice([", ", ". ", "\t", "; ", ": "]))
    if rng.random() < 0.7 and out[-1] == " ":
        out.pop()
    if rng.random() < 0.1:
        out.insert(0, rng.choice([" ", "  ", "\t", "\u3000", "\u2581"]))
    return "".join(out)


def lines(seed, total):
    """Sentences without line feeds, about `total` bytes."""
    rng = random.Random(seed)
    out, size = [], 0
    while size < total:
        s = (rng.choice(CODE).replace("\n", " ") if rng.random() < 0.03 else sentence(rng)).replace("\n", " ")
        out.append(s)
        size += len(s.encode("utf-8")) + 1
    return out


def document(seed, total):
    """One text with line feeds of every kind."""
    rng = random.Random(seed)
    out, size = [], 0
    while size < total:
        s = rng.choice(CODE) if rng.random() < 0.05 else sentence(rng) + rng.choice(["\n", "\n\n", "\r\n", " \n", "\n  ", "\n\n\n "])
        out.append(s)
        size += len(s.encode("utf-8"))
    return "".join(out)


def broken(seed, count):
    """Byte strings that are not UTF-8, without line feeds."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        b = bytearray(sentence(rng).encode("utf-8"))
        for _ in range(rng.randint(1, 6)):
            b.insert(rng.randint(0, len(b)), rng.choice([0xFF, 0xC0, 0xE2, 0xED, 0xA0, 0x80, 0xF4, 0xF0, 0x9F, 0xC3]))
        if b and rng.random() < 0.5:
            del b[rng.randrange(len(b)):]
        out.append(bytes(b).replace(b"\n", b" "))
    return out
