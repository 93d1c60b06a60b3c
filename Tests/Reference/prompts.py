"""The prompts of the logits fixtures: short and long, prose, code, emoji, many scripts, and chats in ChatML."""

import pathlib
from dataclasses import dataclass

TEXT = pathlib.Path(__file__).parent.parent / "LlamaEngineTests" / "Fixtures" / "perplexity.txt"


@dataclass
class Prompt:
    name: str
    text: str
    special: bool = False  # the text's special tokens are meant as such


def between(start: str, end: str) -> str:
    """The part of the perplexity text from `start` up to `end`."""
    text = TEXT.read_text(encoding="utf-8")
    first = text.index(start)
    return text[first : text.index(end, first)]


def chat(*turns: tuple[str, str], system: str = "You are a helpful assistant.") -> str:
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for role, content in turns:
        text += f"<|im_start|>{role}\n{content}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


ORGANS = between("The workshop of an organ", "A short history")

PROMPTS = [
    Prompt("one-token", "The"),
    Prompt("short-fact", "The capital of France is"),
    Prompt("story-opening", "Once upon a time, in a village between two rivers, there lived a clockmaker who"),
    Prompt("list", "Five fruits that grow on trees:\n1. Apple\n2."),
    Prompt("python", "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n    if n < 2:\n"),
    Prompt(
        "c-and-symbols",
        "#include <stdio.h>\n\nint main(int argc, char **argv) {\n\tfor (int i = 1; i < argc; i++) {\n\t\t",
    ),
    Prompt("json", '{"name": "Ana", "age": 31, "tags": ["red", "blue"], "address": {"city": "'),
    Prompt("sql", "SELECT name, COUNT(*) FROM orders WHERE created_at >= '2024-01-01' GROUP BY"),
    Prompt("emoji", "Weather today: ☀️🌤️ then 🌧️🌧️ and maybe 🌈! My mood: 😀👍🏽👩‍👩‍👧‍👦 🇫🇷 so I will"),
    Prompt("chinese", "春天来了，公园里的花都开了。孩子们"),
    Prompt("japanese", "東京の小さな喫茶店では、店主が毎朝七時に"),
    Prompt("korean", "안녕하세요. 오늘 날씨가 아주 좋습니다. 우리는"),
    Prompt("arabic", "في الصباح الباكر يفتح الخباز دكانه الصغير"),
    Prompt("devanagari", "सुबह की पहली बस पहाड़ के गाँव से"),
    Prompt("cyrillic", "Утром в горах было так тихо, что мы слышали"),
    Prompt("greek-and-accents", "Η θάλασσα ήταν ήρεμη. L'été, à la plage, où les élèves naïfs"),
    Prompt("digits", "3.14159265358979 2.71828182845904 1.41421356237309 1 2 4 8 16 32 64 128 256"),
    Prompt("whitespace", "a  b   c    d\t\te\n\n\n  f \r\n   g      \n"),
    Prompt(
        "one-block-exactly",
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
    ),
    Prompt("shouting", "PLEASE DON'T SHOUT!!! I'M SURE THEY'LL HEAR US, WE'VE BEEN HERE BEFORE..."),
    Prompt("chat-short", chat(("user", "What is the capital of Norway?")), special=True),
    Prompt(
        "chat-turns",
        chat(
            ("user", "Hi! My name is Ingrid and I keep bees."),
            ("assistant", "Hello Ingrid! Keeping bees is a wonderful hobby. How many hives do you have?"),
            ("user", "Three. What is my name, and what do I keep?"),
            system="You answer in one short sentence.",
        ),
        special=True,
    ),
    Prompt("chat-code", chat(("user", "Write a Python function that reverses a string.")), special=True),
    Prompt("several-blocks", between("A short history of the pencil", "Minutes of the meeting")),
    Prompt("long-mixed-code", between("```python", "Dear Mr Oyelaran")),
    Prompt("long-prose", between("The ferry left", "Question: Why does bread")),
    Prompt("long-scripts", between("Der Zug nach", "The theorem of the sandwich")),
    Prompt(
        "long-chat",
        chat(("user", "Summarise this text in two sentences.\n\n" + ORGANS)),
        special=True,
    ),
]
