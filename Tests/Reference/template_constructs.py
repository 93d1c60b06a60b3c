"""Templates of our own, one for each construct that the interpreter knows, for render_templates.py --constructs."""

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Grüße & <b>'x'</b> \"y\" 東京 \n"},
        {"role": "assistant", "content": "<think>no</think>\n\nYes.", "tool_calls": None},
        {"role": "user", "content": ""},
    ],
    "add_generation_prompt": True,
    "tools": None,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "numbers": [3, 1, 2, 3],
    "mixed": [1, 2.5, True, None, "a", [1, "b'c"], {"k": "v\n"}],
    "words": ["pear", "Apple", "fig", "apple"],
    "schema": {"type": "object", "b": {"items": [1, 2], "é": None}, "a": 0.1, "items": "shadowed", "B": -7},
    "line": "one\ntwo\r\n\nfour\n",
    "people": [{"name": "Ann", "age": 30, "at": {"city": "Rome"}}, {"name": "bob", "age": 4}, {"name": "Cid", "age": 30}],
}

EXPRESSIONS = """
1 + 2 * 3 - 4
7 // 2
-7 // 2
-7 % 3
7 % -3
7 / 2
2 ** 10
2 ** -1
-2 ** 2
7.5 // 2
-7.5 % 2
1.5 + True
'ab' * 3
3 * 'ab'
[1] * 3
0.1 + 0.2
1e16
1e15
1e-5
0.0001
100 / 10
10 / 4 * 4
'a' ~ 1 ~ none ~ true ~ 1.0
'a' + 'b' 'c'
'%s is %d, 100%%' % ('x', 3)
'%s' % 'y'
'%s of %r' | format('a', 'b')
[1, 2] + [3]
(1, 2) + (3,)
1 < 2 < 3
1 < 2 > 5
1 == 1.0
true == 1
'a' == none
[1, [2]] == [1, [2]]
{'a': 1} == {'a': 1.0}
'a' < 'b'
'Z' < 'a'
[1, 2] < [1, 3]
1 in [1, 2]
'b' in 'abc'
'k' in {'k': 1}
'x' not in 'abc'
not 1 in [2]
'' in ''
nothing in [1]
1 in nothing
nothing == nothing2
nothing ~ 'x'
nothing or 'y'
none or 0 or ''
1 and 'z'
'' and 1
'a' if true else 'b'
'a' if false
1 if false else 2 if false else 3
(1)
(1,)
()
[]
{}
[1, 2,]
{'a': 1, 'b': [2, (3,)]}
{1: 'a', none: 'b', true: 'c'}
{'a': 1}['a']
{'a': 1}.a
{'a': 1}.b is defined
{'a': {'b': 1}}.a.b
numbers[0]
numbers[-1]
numbers[9] is defined
numbers.0
numbers[1:]
numbers[:-1]
numbers[::-1]
numbers[-2:]
numbers[5:]
numbers[3:1]
numbers[::2]
numbers[-100:100]
'日本語text'[1:4]
'日本語'[::-1]
'日本語'[1]
'abc'[-1]
'abc'[7] is undefined
schema.items is string
schema['items']
schema.items() | list
schema.keys() | list
schema.values() | list
schema.get('a')
schema.get('zz')
schema.get('zz', 'd')
schema.type
schema['b']['items'][0]
mixed
mixed | string
mixed | tojson
schema | tojson
schema | tojson(indent=2)
schema | tojson(indent=4, sort_keys=true)
[] | tojson(indent=2)
{} | tojson(indent=2)
[[], {}] | tojson(indent=1)
schema | tojson(separators=(',', ':'))
'é東\\u2028"\\\\/\\x07' | tojson
'é😀' | tojson(ensure_ascii=true)
(1, 2) | tojson
{1: 2, none: 3, true: 4} | tojson
line | tojson
"it's"
["it's", '"', "'\\""]
['\\t\\n\\r\\x00\\x7f\\xa0\\u200b é 😀']
'a\\tb\\\\n\\x41\\u00e9\\101\\q'
line | upper
line.splitlines()
line.splitlines(true)
line | indent
line | indent(2, true)
line | indent(2, blank=true)
line | indent('> ')
line | length
line | trim | length
line.split('\\n')
' a  b c '.split()
' a  b c '.split(none, 1)
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
'a,b,c'.rsplit(',')
',a,'.split(',')
'a</think>b</think>c'.split('</think>')[-1]
'  x '.strip()
'  x '.lstrip() ~ '|'
'  x '.rstrip() ~ '|'
'xxaxx'.strip('x')
'\\n\\nab\\n'.strip('\\n')
'\\u00a0\\u3000x\\x1c'.strip()
'abc'.startswith('ab')
'abc'.startswith(('x', 'ab'))
'abc'.endswith('bc')
'abc'.find('c')
'日本'.find('本')
'abcabc'.rfind('b')
'abc'.find('x')
'abcabc'.count('bc')
'aXbX'.replace('X', 'yy')
'aXbX'.replace('X', '', 1)
'ab'.replace('', '-')
'ß ǆ ŉ i'.upper()
'ÀÉ İ'.lower()
'hello wORLD-foo (bar)' | title
"hello wORLD it's".title()
'hELLO wORLD' | capitalize
'ǆungla'.capitalize()
'ab' | replace('a', 'c')
'{} and {}'.format(1, 'x')
'{0}{1}{0} {n} {{}}'.format('a', 'b', n=none)
'-'.join(['a', 'b'])
'12'.isdigit()
''.isdigit()
'ab1'.isalnum()
'ab'.isalpha()
'AB'.isupper()
'ab1'.islower()
' \\t'.isspace()
'abc'.removeprefix('a').removesuffix('c')
numbers | length
numbers | count
numbers | sort
numbers | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
people | sort(attribute='age') | map(attribute='name') | list
people | map(attribute='at.city', default='?') | list
people | map(attribute='name') | map('upper') | join(', ')
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('at') | list | length
people | selectattr('at', 'defined') | list | length
people | rejectattr('age', 'gt', 10) | list
people | sum(attribute='age')
people | join('/', attribute='name')
people | map(attribute='age') | unique | list
words | unique | list
words | first
words | last
words | reverse | list
'abc' | reverse
'abc' | list
'abc' | first
[] | first is defined
[] | last is defined
words | join
words | join(', ')
mixed[:5] | join('|')
numbers | max
numbers | min
words | min
people | max(attribute='age')
[] | max is defined
numbers | sum
[1, 2.5] | sum
numbers | sum(start=10)
numbers | select('odd') | list
numbers | reject('equalto', 3) | list
mixed | select | list
mixed | select('string') | list
numbers | select('divisibleby', 3) | list
schema | dictsort
schema | dictsort(case_sensitive=true)
{'a': 2, 'b': 1} | dictsort(by='value')
{'a': 2, 'b': 1} | dictsort(reverse=true)
schema | items | list
nothing | items | list
schema | list
schema | length
schema | first
nothing | default('d')
none | default('d')
none | default('d', true)
'' | d('x', boolean=true)
nothing | length
nothing | list
nothing | join
nothing | upper
nothing | first is defined
'42' | int
'x' | int
'x' | int(7)
'ff' | int(0, 16)
3.9 | int
-3.9 | int
'3.7' | int
true | int
'3.5' | float
3 | float
'x' | float(1.5)
3.14159 | round(2)
2.5 | round
7 | round
2.1 | round(0, 'ceil')
2.9 | round(method='floor')
-3 | abs
-2.5 | abs
5 | string ~ 'x'
'<a href="x">\\'&' | escape | string | length
' x ' | trim
'xyx' | trim('x')
'a' | safe
'a' is string and 1 is number and 1.5 is float and 1 is integer
true is boolean and true is number and true is integer
none is none and 1 is not none
{} is mapping and [] is not mapping
[] is iterable and '' is iterable and {} is iterable and nothing is iterable
1 is iterable
[] is sequence and '' is sequence and {} is sequence
1 is sequence
true is true and 1 is not true and false is false
2 is even and 3 is odd and 9 is divisibleby 3
1 is eq 1 and 1 is ne 2 and 1 is lt 2 and 2 is ge 2
1 is in [1, 2]
'a' is equalto 'a'
'ab' is lower and 'AB' is upper
nothing is undefined
messages is defined and messages[0] is mapping
range is callable and numbers is not callable
x is defined and x.y
not x is defined
-1 is number
range(3) | list
range(1, 4) | list
range(5, 0, -2) | list
range(0) | list
dict(a=1, b='c')
dict({'a': 1}, b=2)
namespace(a=1).a
namespace(a=1).b is defined
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %A %H:%M:%S %j %p %I %y %%')
strftime_now('%B %-d')
messages[1].content | trim
messages[1]['content'] | tojson
messages[-1].content == ''
messages[2].tool_calls is none
messages | map(attribute='role') | list
messages | selectattr('role', 'ne', 'system') | list | length
messages | length > 2 and messages[0].role == 'system'
1, 2
'a' 'b', 'c'
[1, 2, 3] | last - 1
'a|b'.split('|') | length
(messages | first).role
'x'.upper().lower() ~ [1][0]
'a' in ['a'] and 'b' not in ['a']
{'a': none}.a is none
nothing.x
nothing['x']
nothing()
nothing + 1
none + 'x'
'x' + 1
1 + none
none.x
none['x']
1 | length
messages.zz.y
'abc'.nope()
[1].append(2)
{'a': 1}.update({'b': 2})
{'a': 1}.pop('a')
1 // 0
1 % 0
'x' < 1
none < 1
[1, 'a'] | sort
'a' in 1
raise_exception('no: ' ~ 1)
range(200000)
1 is divisibleby 0
nothing | tojson
'%d' % 'x'
'%s' % (1, 2)
'x' | int + 1
numbers.index(2)
numbers.count(3)
[1, 2] | join(3)
('a', 1) | list
schema.b['é'] is none
""".strip("\n").split("\n")

STATEMENTS = {
    "if": "{% if numbers %}a{% endif %}{% if not numbers %}b{% elif none %}c{% elif 1 %}d{% else %}e{% endif %}",
    "for": "{% for n in numbers %}{{ n }},{% endfor %}",
    "for-else": "{% for n in [] %}x{% else %}empty{% endfor %}{% for n in [1] %}{{ n }}{% else %}y{% endfor %}",
    "for-if": "{% for n in numbers if n > 1 %}{{ loop.index }}:{{ n }}{{ ';' if not loop.last }}{% endfor %}",
    "for-if-none": "{% for n in numbers if n > 9 %}x{% else %}none{% endfor %}",
    "for-unpack": "{% for key, value in schema.items() %}{{ key }}={{ value }}\n{% endfor %}{% for (a, b) in [[1, 2]] %}{{ a + b }}{% endfor %}",
    "for-loop": "{% for n in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "for-neighbours": "{% for n in numbers %}{{ loop.previtem }}<{{ n }}>{{ loop.nextitem }} {{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}",
    "for-neighbours-if": "{% for n in numbers if n != 1 %}{{ loop.previtem }}<{{ n }}>{{ loop.nextitem }};{% endfor %}",
    "for-cycle": "{% for n in numbers %}{{ loop.cycle('a', 'b') }}{{ loop.changed(n > 1) }}{% endfor %}",
    "for-nested": "{% for a in [1, 2] %}{% set outer = loop %}{% for b in [3, 4] %}{{ outer.index }}{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}",
    "for-text": "{% for c in 'é東' %}[{{ c }}]{% endfor %}{% for k in schema %}{{ k }} {% endfor %}{% for x in nothing %}x{% endfor %}",
    "for-conditional": "{% for x in (numbers if true else []) %}{{ x }}{% endfor %}{% for x in numbers[1:] + [9] %}{{ x }}{% endfor %}",
    "for-lazy-filter": "{% set ns = namespace(on=true) %}{% for n in numbers if ns.on %}{{ n }}{% if n == 1 %}{% set ns.on = false %}{% endif %}{% endfor %}",
    "for-lazy-filter-loop": "{% set ns = namespace(on=true) %}{% for n in numbers if ns.on %}{{ loop.index }}{{ n }}{% if n == 1 %}{% set ns.on = false %}{% endif %}{% endfor %}",
    "break": "{% for n in numbers %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}.",
    "continue": "{% for n in numbers %}{% if n == 1 %}{% continue %}{% endif %}{{ n }}{{ loop.last }}{% endfor %}",
    "break-nested": "{% for a in [1, 2] %}{% for b in [1, 2] %}{% if b == 2 %}{% break %}{% endif %}{{ a }}{{ b }} {% endfor %}{% endfor %}",
    "set": "{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}{% set a, b = 1, 'z' %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}",
    "set-block": "{% set x %}a{{ 1 }}\n b{% endset %}[{{ x }}]{% set y | upper | replace('A', 'z') %}abc{% endset %}{{ y }}",
    "set-scopes": "{% set x = 1 %}{% for n in [1, 2] %}{{ x }}{% set x = x + n %}{{ x }} {% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}",
    "set-block-scope": "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ y }}{{ x }}",
    "namespace": "{% set ns = namespace(n=0, list=[]) %}{% for n in numbers %}{% set ns.n = ns.n + n %}{% set ns.list = ns.list + [n] %}{% endfor %}{{ ns.n }}{{ ns.list }}{{ ns.zz is defined }}",
    "namespace-dict": "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns['b'] }}",
    "macro": "{% macro greet(name, mark='!', n=1) %}Hi {{ name }}{{ mark * n }}{% endmacro %}{{ greet('a') }}{{ greet('b', '?') }}{{ greet(name='c', n=3) }}{{ greet() }}",
    "macro-recursion": "{% macro down(n) %}{{ n }}{% if n > 0 %}{{ down(n - 1) }}{% endif %}{% endmacro %}{{ down(5) }}",
    "macro-scope": "{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 7 %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}{{ x }}",
    "macro-default-parameter": "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "macro-loop": "{% macro m() %}{{ loop is defined }}{% endmacro %}{% for x in [1] %}{{ m() }}{% endfor %}",
    "macro-name": "{% macro abc() %}{% endmacro %}{{ abc.name }}{{ abc is callable }}",
    "macro-output": "{% macro m(x) -%}  a {{ x }}  {%- endmacro %}[{{ m(1) | upper }}]{{ m(2) ~ 'x' }}",
    "macro-too-many": "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "macro-unknown": "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "call": "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in{{ numbers[0] }}{% endcall %}",
    "call-parameters": "{% macro each(l) %}{% for x in l %}{{ caller(x) }};{% endfor %}{% endmacro %}{% call(v) each([1, 2]) %}{{ v * 2 }}{% endcall %}",
    "filter": "{% filter upper %}abc {{ 'd' }}{% endfilter %}{% filter trim | replace('b', 'x') %}  abc {% endfilter %}|",
    "with": "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}{% with %}{% set c = 1 %}{% endwith %}{{ c is defined }}",
    "generation": "{% generation %}a{{ 1 }}{% endgeneration %}b",
    "raw": "{% raw %}{{ x }} {% if %} {# #}{% endraw %}|{%- raw -%}  {{ y }}  {%- endraw -%}  |",
    "raw-lines": "a\n  {% raw %}\n {{ x }}\n  {% endraw %}\nb",
    "comment": "a{# {{ x }} {% if %} #}b{#- c -#}  d  {#- e #} f",
    "comment-lines": "a\n  {# one #}\nb\n{# two\nlines #}\nc {# three #}\nd",
    "trim-blocks": "{% if true %}\nx\n{% endif %}\n\ny{{ 1 }}\nz\n",
    "lstrip-blocks": "a\n    {% if true %}\n  b\n\t {% endif %}c\n  {{ 1 }}\n x {% if true %} y{% endif %}",
    "control-plus": "a\n    {%+ if true +%}\n  b\n{% endif %}",
    "control-minus": "a  \n {%- if true -%}  \n b \n {%- endif -%} \n c {{- 1 -}}  d",
    "carriage-returns": "a\r\nb\rc{% if true %}\r\nd{% endif %}\r\n",
    "trailing-newlines": "a\n\n",
    "empty": "",
    "only-newline": "\n",
    "braces": "{ } {a} }} %} {{ '{{' }}{{ '}}' }}{{ {'a': {'b': 1}} }}{{ '%}' }}",
    "quotes": "{{ 'a\"b' }}{{ \"a'b\" }}{{ 'a\\'b' }}{{ 'line\nbreak' }}",
    "else-lines": "{% for m in messages %}\n{% if m.role == 'user' %}\nU: {{ m.content }}\n{% elif loop.last %}\nlast\n{% else %}\n{{ m.role }}\n{% endif %}\n{% endfor %}\n{% if add_generation_prompt %}\nA:\n{% endif %}",
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "bos": "{{ bos_token }}{{ eos_token }}{{ pad_token }}",
    "think": "{%- for m in messages %}{% if '</think>' in m.content %}{% set c = m.content.split('</think>')[-1].lstrip('\\n') %}{% else %}{% set c = m.content %}{% endif %}{{- m.role ~ ':' ~ c -}}{% endfor %}",
    "raise": "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
    "raise-not-reached": "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}ok",
    "error-endif": "{% if true %}x",
    "error-unclosed": "{{ 1 ",
    "error-tag": "{% nonsense %}",
    "error-filter": "{{ 1 | nonsense }}",
    "error-test": "{{ 1 is nonsense }}",
    "error-expression": "{{ 1 + }}",
    "error-string": "{{ 'a }}",
    "error-break": "{% break %}",
    "error-bracket": "{{ (1] }}",
    "error-for": "{% for x numbers %}{% endfor %}",
    "error-mismatch": "{% for x in numbers %}{% endif %}",
    "error-namespace": "{% set d = {} %}{% set d.x = 1 %}",
    "error-unpack": "{% for a, b in [[1]] %}{% endfor %}",
    "error-walk": "{% for a in 5 %}{% endfor %}",
    "error-positional": "{{ dict(a=1, 2) }}",
    "error-character": "{{ 1 ? 2 }}",
}

CONSTRUCTS = [(text, "{{ " + text + " }}") for text in EXPRESSIONS] + list(STATEMENTS.items())
