"""The texts of the tokenizer fixtures: hand-picked ones, and mixtures drawn from a fixed seed."""

import random

from prompts import PROMPTS, TEXT

SPECIAL_NAMES = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>",
    "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>",
    "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>",
]

SCRIPTS = {
    "Latin": "The quick brown fox jumps over the lazy dog",
    "French": "Où est l'œuf? À côté du garçon naïf, évidemment!",
    "German": "Die Straße nach Überlingen führt über größere Hügel", "Polish": "Zażółć gęślą jaźń",
    "Turkish": "İstanbul'da ığdır çayı içtik, DİYARBAKIR ılık", "Vietnamese": "Tiếng Việt có nhiều dấu thanh điệu",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία", "Russian": "Съешь же ещё этих мягких французских булок",
    "Ukrainian": "Щедра їжа ґанку, м'ята", "Georgian": "გამარჯობა მსოფლიო", "Armenian": "Բարեւ աշխարհ",
    "Hebrew": "שָׁלוֹם עולם, מה שלומך?", "Arabic": "مرحبا بالعالم، كيف حالُكَ اليوم؟",
    "Persian": "می‌خواهم کتاب‌ها را بخوانم", "Urdu": "آپ کیسے ہیں؟", "Hindi": "नमस्ते दुनिया, आप कैसे हैं?",
    "Bengali": "আমার সোনার বাংলা", "Tamil": "வணக்கம் உலகம்", "Telugu": "నమస్కారం ప్రపంచం",
    "Thai": "สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง", "Lao": "ສະບາຍດີ", "Khmer": "សួស្តីពិភពលោក",
    "Burmese": "မင်္ဂလာပါ ကမ္ဘာ", "Tibetan": "བཀྲ་ཤིས་བདེ་ལེགས།", "Amharic": "ሰላም ለዓለም",
    "Chinese": "你好，世界！今天天气怎么样？", "Traditional": "繁體中文與簡體中文", "Japanese": "こんにちは世界。カタカナとひらがな",
    "Korean": "안녕하세요 세계 ㅋㅋㅋ", "Cherokee": "ᎣᏏᏲ ᎡᎶᎯ", "Gothic": "𐌲𐌿𐍄𐌰𐌽𐍃", "Cuneiform": "𒀀𒁀𒂀", "Deseret": "𐐔𐐯𐑅𐐨𐑉𐐯𐐻",
    "Mathematical": "𝓗𝓮𝓵𝓵𝓸 𝟘𝟙𝟚 𝔄𝔅", "Extension B": "𠀀𠀁𪚥 漢字", "Mongolian": "ᠮᠣᠩᠭᠣᠯ", "Sinhala": "ආයුබෝවන්",
    "Malayalam": "നമസ്കാരം", "Javanese": "ꦱꦸꦒꦼꦁ",
}

HAND_PICKED = [
    "", " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r", "\r\n", "\r\n\r\n", "\n \n", " \n", "\n ",
    " \n ", "\t \t", " \t\n\r ",
    "a", " a", "a ", " a ", "a  ", "  a", "a  b", "a   b", "a\tb", "a\nb", "a\r\nb", "a\rb", "a \n b", "a\n\n b",
    "a  \n  b", "\n\na", "a\n\n",
    "trailing spaces   ", "trailing tab\t", "trailing newline\n", "   leading", "\t\tleading tabs", "     five",
    "        eight",
    "line one\r\nline two\r\n\r\nline four\r\n", "mixed\r\n\n\r endings\n\r", "tabs\tbetween\t\twords", "a\u00a0b",
    "a\u2003b\u2009c", "\u3000全角", "x\u2028y\u2029z",
    "a\x0bb\x0cc", "a\x85b", "\x1b[31mred\x1b[0m", "\x01\x02\x03", "bell\x07", "\x7f delete \x7f",
    "a\x1fb\x1cc\x1dd\x1ee",
    "I'm you're he's we've they'll I'd don't it's", "I'M YOU'RE HE'S WE'VE THEY'LL I'D DON'T IT'S",
    "I'm You'Re He'S We'vE They'lL", "'s 't 're 've 'm 'll 'd", "'S 'T 'RE 'VE 'M 'LL 'D",
    "'' ' '''", "''s", "rock'n'roll", "o'clock", "'tis 'twas", "l'été d'abord qu'il",
    "don\u2019t it\u2019s we\u2019ll", "x's's's", "'ſ 'ſ", "d'Artagnan's", " 's", " 'll", "a'b'c'd'll",
    "0", "1", "12", "123", "1234", "12345", "123456", "1234567890", "3.14159", "-273.15", "1,000,000", "1e-10",
    "0x7fff", "0b1010", "1/2", "½", "²³¹", "Ⅷ ⅷ", "①②③", "٠١٢٣", "०१२३", "一二三", "１２３", "a1b2c3", "v2.0.1-rc3",
    "2024-03-07T09:15:02.113Z", "+44 20 7946 0000", "192.168.0.1:8080", "::1", "$1,234.56", "€12,50", "100%",
    "5'11\"", "12345678901234567890123456789012345678901234567890",
    "https://example.org/path/to/page?query=a+b&x=%20#top", "mailto:someone@example.org", "ftp://user:pw@host:21/",
    "www.example.co.uk", "C:\\Users\\name\\file.txt", "/usr/local/bin", "../../etc/hosts", "file_name-v2.tar.gz",
    "def f(x):\n    return x ** 2\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}",
    "if (a && b || !c) { return *p++; }", "x = y if z else None  # comment", "<div class=\"a b\">&nbsp;</div>",
    "{\"a\":[1,2,{\"b\":null}]}", "SELECT * FROM t WHERE a='b''c';", "#!/bin/sh\nset -euo pipefail\n",
    "\\frac{a}{b} \\in \\mathbb{R}", "let x: [String: Int?] = [:]", "fn main() -> Result<(), Box<dyn Error>> {}",
    "template <typename T> class X : public Y<T> {};", "a->b->c", "a::b::c", "i+=1;j-=2;k*=3",
    "== != <= >= <=> === !==", "@decorator", "$var ${var} $(cmd)", "`code` ```block```", "// comment\n/* block */",
    "camelCase snake_case kebab-case SCREAMING_CASE", "__init__", "if x:\n\tif y:\n\t\tpass",
    "  indented\n    more\n      most\n",
    "!", "!!", "!!!", "...", "…", "--", "---", "—", "–", "?!", "?!?!", "()", "[]", "{}", "(((", ")))", "\"\"\"",
    "~~~", "***bold***", "_under_", "# Heading\n\n* item\n* item", "| a | b |\n|---|---|", "a, b; c: d. e! f?",
    " ,", " .", " !", "¿Qué? ¡Sí!", "«guillemets» „quotes“ “quotes”", "§ 12 ¶ † ‡ • ·", "™ © ® °",
    "+ - × ÷ = ≠ ≈ ≤ ≥ ∞ ∑ ∫ √ ∂", "← → ↑ ↓ ⇒ ⇔", "░▒▓█ ┌─┐│└┘", "♠♥♦♣ ♩♪♫ ☎ ☮",
    "😀", "😀😀", "😀 😀", "a😀b", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷🇩🇪🇯🇵", "❤️", "❤", "☺️", "1️⃣2️⃣", "👨🏿‍🚀", "🧑‍💻 coding",
    "🤷🏻‍♀️", "🫠🫡🫢", "smile:😀,sad:😢!", " 😀", "😀\n", "🎉🎉🎉!!!",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "e\u0301", "é", "e\u0301\u0323", "n\u0303o",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031ea\u0327\u0349l\u0300g\u0331o\u0300",
    "\u0301", " \u0301x", "a\u0301b\u0302c\u0303", "क\u094dष", "ก\u0e34\u0e48", "한\u1112\u1161\u11ab", "ﬁ ﬂ ﬀ",
    "Å \u212b A\u030a",
    "a\u200bb", "a\u200db", "a\u200cb", "\ufefftext", "a\ufeffb", "\u200e\u200f", "a\u00adb", "a\u2060b",
    "\u202eright\u202c", "\ue000\uf8ff", "\ufffd", "\uffff", "\ufffe", "\U0010ffff", "\U000f0000", "\ud7ff\ue000",
    "\u0378", "\U0001fffe", "a\ufe0fb", "\u061c", "\u180e", "\u115f\u3164",
    "ß ẞ SS", "İ i̇ ı I", "ǅ ǆ Ǆ", "ª º ʰ ʷ", "ʼn", "Ω Ω", "µ μ", "ǃ ǀ", "ー々〆〇", "ـــ", "ᵃᵇ", "़ा", "०ा",
    "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
    "Donaudampfschifffahrtsgesellschaftskapitän", "a" * 40, "a" * 700, "ab" * 300, "xyz" * 500, "A" * 100,
    "Ab" * 50, "=" * 80, "-" * 200, " " * 100, "\n" * 50, "\t" * 30, " \n" * 40, "0" * 60, "é" * 90, "界" * 120,
    "😀" * 60, "ا" * 80, "!?" * 70, "\r\n" * 20, "a " * 90, "( " * 40,
    "qwrtpsdfghjklzxcvbnm" * 20, "thethethethethe", "ininininin",
    "  ".join("words with two spaces between".split()), "UPPERCASE WORDS IN A ROW", "MiXeD cAsE tExT",
    "Iñtërnâtiônàlizætiøn", "ＦＵＬＬ ＷＩＤＴＨ", "ｈａｌｆ", "Hello,World!Hello,World!", "no.spaces.here,none;at:all",
    "a.b.c.d", "e.g. i.e. etc.", "Mr. & Mrs. O'Neil-Smith",
    "Ġ", "Ċ", "Ġthe", "ĉ", "Â", "âĢĻ", "Ģ", "ÿ", "Ā", "ł Ń", "<0x0A>", "<unk>", "<s>", "</s>", "[INST]", "[/INST]",
    "<<SYS>>", "<|begin_of_text|>", "<|eot_id|>", "<|user|>", "<|", "|>", "<|im_", "im_start|>", "<|im_start |>",
    "<|IM_START|>", "< |im_start|>", "<|im_start|", "<|im_start|>|>",
]


def special_lines() -> list[str]:
    lines = []
    for name in SPECIAL_NAMES:
        lines += [name, f"before {name} after", f"{name}{name}", f"x{name}y", f" {name} ", f"\n{name}\n"]
        lines.append(f"{name[:-1]} {name[1:]}")
    lines += ["".join(SPECIAL_NAMES), " ".join(SPECIAL_NAMES)]
    lines += ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|><|im_end|>", "<<|im_start|>>"]
    lines += ["<|im_start<|im_start|>|>", "<|im_end|>\u00a0", "😀<|im_end|>😀", "é<file_sep>é", "  <|im_end|>  "]
    lines += [prompt.text for prompt in PROMPTS if prompt.special]
    return lines


def mixtures(count: int) -> list[str]:
    """Random lines out of the pieces above and random scalars, from a fixed seed."""
    generator = random.Random(1729)
    pieces = [line for line in HAND_PICKED if 0 < len(line) < 40]
    pieces += [word for text in SCRIPTS.values() for word in text.split()]
    blocks = [
        (0x21, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF),
        (0xE00, 0x11FF), (0x1E00, 0x20CF), (0x2100, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF),
        (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFFFF), (0x10000, 0x1F9FF), (0x20000, 0x2FA1F),
        (0xE0000, 0xE01EF),
    ]
    lines = []
    for index in range(count):
        line = ""
        for _ in range(generator.randint(2, 9)):
            choice = generator.random()
            if choice < 0.6:
                line += generator.choice(pieces)
            elif choice < 0.85:
                line += generator.choice([" ", "  ", "\n", "\t", "\r\n", ", ", "'", "_", "-", ".", "\u00a0", "1", "’s"])
            else:
                low, high = generator.choice(blocks)
                line += "".join(chr(generator.randint(low, high)) for _ in range(generator.randint(1, 6)))
        lines.append(line)
    return lines


def sentences() -> list[str]:
    """Lines and windows of the perplexity text."""
    text = TEXT.read_text(encoding="utf-8")
    lines = [line for line in text.split("\n") if 0 < len(line) < 400][::6]
    return lines + [text[first : first + 97] for first in range(0, len(text), 997)]


def plain_lines() -> list[str]:
    lines = list(HAND_PICKED)
    for text in SCRIPTS.values():
        lines += [text, f" {text}", text.replace(" ", "\n")]
    lines += special_lines() + [prompt.text for prompt in PROMPTS if len(prompt.text) < 1500]
    lines += sentences() + mixtures(240)
    return list(dict.fromkeys(lines))
