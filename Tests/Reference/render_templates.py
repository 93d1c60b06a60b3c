"""Renders chat templates with jinja2, as Hugging Face's transformers sets it up, over a set of conversations.

    python render_templates.py FOLDER OUTPUT.jsonl      every *.jinja of a folder (for RealTemplateTests; not committed)
    python render_templates.py FILE.py OUTPUT.jsonl     the templates among the strings of a Python file (the same)
    python render_templates.py --constructs OUTPUT.jsonl    our own templates (the committed fixture of JinjaFixtureTests)

A line of the output is one rendering: {"name", "template", "context", "now", "expected"}, where "expected" is null when
jinja2 refuses; without "context" and "now" they are those of the line before. Values of the context are tagged, so that no reader of JSON loses their types or the order of keys:
null, true, {"i": 1}, {"f": 0.5}, {"s": "text"}, {"l": [...]}, {"d": [[key, value], ...]}.
"""
import ast
import datetime
import json
import sys
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1_785_581_907  # 2026-08-01 10:58:27 UTC


class Generation(Extension):
    """`{% generation %}` of transformers, which marks text and changes none."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)

    result = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    result.filters["tojson"] = tojson
    result.globals["raise_exception"] = raise_exception
    result.globals["strftime_now"] = strftime_now
    return result


def tagged(value):
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return {"i": value}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"s": value}
    if isinstance(value, (list, tuple)):
        return {"l": [tagged(element) for element in value]}
    return {"d": [[key, tagged(element)] for key, element in value.items()]}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.\nFor a place, \"now\" – or later.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Where, e.g. Zürich"},
                "days": {"type": "integer", "description": "How many", "default": 3, "minimum": 0},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "tags": {"type": "array", "items": {"type": "string"}, "description": "Any <tags> & 'quotes'"},
                "exact": {"type": "boolean"},
                "threshold": {"type": "number", "default": 0.5},
            },
            "required": ["place", "unit"],
        },
    },
}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Bern", "days": 2}}}


def conversations():
    system = message("system", "You are terse.\n  Always.  ")
    turns = [
        message("user", "  Hello <there> & 'you'\n"),
        message("assistant", "<think>\nhm\n</think>\n\nGrüße, 東京 👩‍👩‍👧!\n"),
        message("user", "And\tnow?"),
    ]
    answered = turns + [message("assistant", "Done.")]
    tooled = [
        turns[0],
        message("assistant", "", tool_calls=[CALL]),
        message("tool", "{\"degrees\": 21.5}", tool_call_id="abcdefghi", name="get_weather"),
    ]
    cases = {
        "one": dict(messages=[turns[0]]),
        "system": dict(messages=[system, turns[0]]),
        "turns": dict(messages=turns),
        "system-turns": dict(messages=[system] + turns),
        "answered": dict(messages=[system] + answered, add_generation_prompt=False),
        "many": dict(messages=[system] + answered * 4 + turns[:1]),
        "empty-content": dict(messages=[message("user", "")]),
        "no-messages": dict(messages=[]),
        "two-users": dict(messages=[turns[0], turns[2]]),
        "system-last": dict(messages=[turns[0], system]),
        "thinking-off": dict(messages=turns, enable_thinking=False),
        "thinking-on": dict(messages=[system] + turns, enable_thinking=True, thinking=True),
        "tools": dict(messages=[turns[0]], tools=[WEATHER]),
        "system-tools": dict(messages=[system] + turns, tools=[WEATHER, WEATHER]),
        "tool-calls": dict(messages=tooled, tools=[WEATHER]),
        "tool-calls-end": dict(messages=[system] + tooled + [message("assistant", "It is 21.5.")], tools=[WEATHER],
                               add_generation_prompt=False),
        "parts": dict(messages=[message("user", [{"type": "text", "text": "In"}, {"type": "text", "text": " parts"}])]),
    }
    for name, case in cases.items():
        yield name, {"add_generation_prompt": True, "tools": None, "documents": None, "bos_token": "<s>",
                     "eos_token": "</s>", **case}


def templates(place):
    """Name and text of each template."""
    if place.is_dir():
        for path in sorted(place.glob("*.jinja")):
            yield path.stem, path.read_text(encoding="utf-8")
        return
    found = {}
    # Read, not run: the file imports what is not installed here.
    for node in ast.walk(ast.parse(place.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            if isinstance(value, str) and "{%" in value and "messages" in value:
                found[node.targets[0].id.removesuffix("_template")] = value
    yield from sorted(found.items())


def render(env, text, context):
    try:
        return env.from_string(text).render(**context)
    except Exception as error:  # whatever jinja2 refuses, and what templates make Python refuse
        print(f"  {type(error).__name__}: {error}"[:160], file=sys.stderr)
        return None


def main():
    env = environment()
    if sys.argv[1] == "--constructs":
        from template_constructs import CONSTRUCTS, CONTEXT
        cases = ((name, text, dict(CONTEXT)) for name, text in CONSTRUCTS)
    else:
        cases = ((f"{model}/{name}", text, context)
                 for model, text in templates(Path(sys.argv[1])) for name, context in conversations())
    previous = None
    with open(sys.argv[2], "w", encoding="utf-8") as output:
        for name, text, context in cases:
            print(name, file=sys.stderr)
            line = {"name": name, "template": text, "expected": render(env, text, context)}
            if context != previous:
                line |= {"now": NOW, "context": {key: tagged(value) for key, value in context.items()}}
            previous = context
            output.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
