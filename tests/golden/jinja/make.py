#!/usr/bin/env python3
"""Writes cases.json: small templates with the output, or the fact of an error, of Jinja2 itself.

    python3 make.py        (Jinja2 3.1.2, as python3-jinja2 of Debian 12)

The environment is the one that transformers builds for chat templates.

list.pop and list.clear are not among the cases: later Jinja2 releases refuse them, 3.1.2 does not.
"""
import datetime
import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_support")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _support(self, context, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = datetime.datetime(2025, 7, 10, 12, 0, 0).strftime
    return env


CONTEXT = {
    "s": "Hello, World", "u": "日本語 Ünï ß ŉ ΑΣ", "ws": "  \t pad \n", "quote": "it's", "both": "a'b\"c",
    "i": 7, "neg": -3, "f": 2.5, "big": 1e22, "small": 1.5e-7, "t": True, "n": None, "empty": "",
    "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, 2], [3, [4, 5]]],
    "d": {"b": 1, "a": [1, 2.0, None], "items": "shadow", "x y": "é"},
    "rows": [{"n": "x", "v": 2, "g": "A"}, {"n": "y", "v": 1, "g": "b"}, {"n": "z", "g": "a", "v": 3}],
    "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi & <b>"},
                 {"role": "assistant", "content": "yo\n", "tool_calls": [
                     {"type": "function", "function": {"name": "f", "arguments": {"q": "ü", "k": 1}}}]}],
}

# One case between two " | "; filters are written without spaces around their bar.
EXPRESSIONS = r"""
1 + 2 * 3 ** 2 | 7 // 2 | -7 // 2 | 7 % -3 | -7 % 3 | 7.5 % -2 | -7.5 // 2 | 2 ** -1 | 2 ** 0.5 | -2 ** 2 | 1 / 3
10 / 5 | 1e3 | 1e16 | 123456789012345680.0 | 0.0001 | 0.00001 | 1.5e300 * 1e10 | 3.0 | 1_000 | 0x1f | 0b101 | 0o17
true + true | true * 3 | 1 == 1.0 | 1 == true | none == false | "a" < "b" | [1, 2] < [1, 3] | (1, 2) < (1, 2, 0)
1 < 2 < 3 | 1 < 3 < 2 | 1 in [1.0] | "" in "" | none in [none] | 1 not in [2] | "a" in d | "b" in d | 2 in range(5)
"ab" * 3 | 3 * "ab" | [1] * 2 | "a" ~ 1 ~ none ~ true ~ 1.0 | "a" + "b" "c" | not 1 == 2 | not true and false
s[0] | s[-1] | s[99] | s[1:4] | s[::-1] | s[-3:] | s[:-3] | s[::3] | s[5:1:-2] | s[100:] | u[0] | u[2:6] | u[::-1]
l[1:] | l[-2] | l[::-1] | l[5] | nested[1][1][0] | nested.1.1.0 | (1, 2, 3)[1:] | range(10)[2:8:3] | range(5)[-1]
d.b | d["b"] | d.a | d.items | d["items"] | d.missing | d.missing is defined | d["x y"] | d.keys() | d.values() | d.get("b")
d.get("zz") | d.get("zz", 4) | d.items() | d.items()|list | d | d|length | d|list | d.copy() | d.__class__ | d.update | l.append
l | words | nested | (1,) | () | [] | {} | {"a": 1, 2: [none, true]} | {1: "x", true: "y"} | [1, "a", 2.50, none, true]
quote | [quote] | [both] | [u] | ["\n\t\\x"] | ["\x00\x7f\u200b\u3000"] | "\u65e5\x41\101\q" | ["é"] | [empty]
i | f | big | small | -0.0 | 1e100 | 100000.0 | 1234567.891 | [big, small, 1.0, 1e15, 1e16, 1e17] | 0.1 + 0.2
missing | missing.x | missing["x"] | missing() | missing + 1 | missing == none | missing is none | missing|length | missing|list | [missing]
missing or "x" | missing and 1 | not missing | missing ~ "a" | missing|default("d") | none|default("d") | none|default("d", true) | ""|d("e", true)
missing|upper | missing|join(",") | missing|first is defined | missing|tojson | missing|int | missing < 1 | missing in [1] | 1 in missing
"x" if false | "x" if true else "y" | ("x" if false) is defined | (1 if 0 else 2 if 0 else 3) | 1 if missing else 2
s|upper | s|lower | s|title | s|capitalize | s|length | s|count | s|reverse | s|first | s|last | s|list | s|string | s|trim("Hd") | s|replace("l", "L") | s|replace("l", "L", 1)
u|upper | u|lower | u|title | u|capitalize | u|length | u|reverse | u.title() | u.swapcase() | u.casefold()|length | "ΑΣ ΑΣΑ"|lower | "ǆ"|title | "ǆ".title()
ws|trim | [ws|trim] | [ws.strip()] | [ws.lstrip()] | [ws.rstrip()] | "xxaxx".strip("x") | "xyax".lstrip("xy") | ws|wordcount | "a-b c(d e<f [g"|title
"a,b,,c".split(",") | "a b  c".split() | " a b ".split(" ") | "a,b,c".split(",", 1) | "a,b,c".rsplit(",", 1) | " a b c ".rsplit(none, 1) | "abc".split("") | "a\nb\r\nc".splitlines() | "a\nb\n".splitlines(true)
"abc".startswith("a") | "abc".startswith(("x", "ab")) | "abc".endswith("bc") | "abc".endswith("b", 0, 2) | "abc".find("c") | "abc".find("z") | "abcabc".rfind("b") | "abc".index("b") | "abc".index("z") | "banana".count("an") | "aaa".count("") | "éa".find("a")
"abc".center(8) | "ab".center(5, "*") | "ab".ljust(4, "-") | "ab".rjust(4) | "-5".zfill(4) | "a\tb".expandtabs(4) | "a=b=c".partition("=") | "a=b=c".rpartition("=") | "abc".partition("x") | "prefix-x".removeprefix("prefix-") | "x.py".removesuffix(".py")
"abc".isdigit() | "12".isdigit() | "²".isdigit() | "²".isdecimal() | "½".isnumeric() | "aB".isalpha() | "a1".isalnum() | " ".isspace() | "".isspace() | "Ab".istitle() | "AB".isupper() | "A1".isupper() | "1".isupper() | "ab".islower() | "a_1".isidentifier() | "é".isascii() | "a\n".isprintable()
", ".join(words) | "-".join("abc") | ",".join([1]) | "a".replace("a", "b").upper() | "{} {}".format(1, "x") | "{1}{0}".format(1, 2) | "{a}".format(a=3) | "{:>5}|{:<5}|{:^5}".format("a", "b", "c") | "{:05.2f}".format(3.14159) | "{:,}".format(1234567) | "{0[a]} {1.real}".format({"a": 1}, 5) | "{!r}".format("x") | "{{}}".format() | "{:x}|{:#o}|{:b}|{:e}|{:%}".format(255, 8, 5, 12345.678, 0.25) | "{:+d}|{: d}".format(3, 3) | "{}".format() | "{:.3}".format("abcdef") | "{:{w}}".format("a", w=4)
"%s and %r" % ("a", "b") | "%d%%" % 5 | "%05.1f" % 2.345 | "%-5s|" % "a" | "%x %X %o" % (255, 255, 8) | "%(k)s" % {"k": 1} | "%s" % none | "%d" % "a" | "%s" % (1, 2) | "%e" % 12345.678 | "%g" % 0.0001 | "%c" % 65 | "%5.2s|" % "abc" | "%s %s"|format(1, 2) | "%(a)s"|format(a=1) | "%+d % d" % (3, 3) | "%s" % [1] | "%i" % 3.9
l|sort | l|sort(reverse=true) | words|sort | words|sort(case_sensitive=true) | rows|sort(attribute="v")|map(attribute="n")|list | rows|sort(attribute="g,v")|map(attribute="n")|join | [3, "a"]|sort | l|min | l|max | words|min | words|max | []|min | rows|max(attribute="v") | l|sum | rows|sum(attribute="v") | [[1], [2]]|sum(start=[]) | []|sum | ["a"]|sum
words|unique|list | words|unique(case_sensitive=true)|list | l|reverse|list | l|first | l|last | []|first | []|last is defined | l|join | l|join("-") | rows|join(",", attribute="n") | l|list | "abc"|join(",") | d|join(",") | words|map("upper")|list | words|map("length")|sum | words|map("replace", "p", "P")|join(" ") | rows|map(attribute="q", default="-")|join | rows|map(attribute="q")|list | l|map("nope")|list | l|map()|list
rows|selectattr("v", "gt", 1)|map(attribute="n")|list | rows|selectattr("v", "equalto", 1)|list | rows|rejectattr("g", "eq", "A")|map(attribute="n")|list | rows|selectattr("q")|list | rows|selectattr("q", "undefined")|list|length | l|select("odd")|list | l|reject("odd")|list | [0, 1, "", "a"]|select|list | l|select("in", [1, 2])|list | l|select("divisibleby", 3)|list | l|select|length | l|select("nope")|list | (l|select)[0] | rows|selectattr("v", ">=", 2)|list|length
rows|groupby("g")|map("first")|list | rows|groupby("g", case_sensitive=true)|map(attribute="grouper")|list | rows|groupby("g")|map(attribute="list")|map("length")|list | d|dictsort | {"B": 1, "a": 2}|dictsort | {"B": 1, "a": 0}|dictsort(by="value") | {"B": 1, "a": 0}|dictsort(true) | {"B": 1, "a": 0}|dictsort(false, "key", true) | d|items|list | d|items|first | l|batch(2)|list | l|batch(2, "x")|list | range(7)|slice(3)|list | range(7)|slice(3, "-")|list
d|tojson | d|tojson(indent=2) | l|tojson | u|tojson | u|tojson(ensure_ascii=true) | "🤗\x7f\x01"|tojson | "🤗\x7f\x01"|tojson(true) | [1.0, 1e16, 1e-7, none, true]|tojson | (1, "a")|tojson | {}|tojson(indent=2) | []|tojson(indent=2) | {1: 2, none: 3, true: 4}|tojson | {"b": 1, "a": 2}|tojson(sort_keys=true) | d|tojson(separators=(",", ":")) | [[1]]|tojson(indent=0) | [[1]]|tojson(indent="\t") | range(3)|tojson | (l|select)|tojson | both|tojson | "</script>&'"|tojson
5|round | 2.5|round | 3.5|round | 2.675|round(2) | 1234.5|round(-2) | 42.55|round(1, "floor") | 42.51|round(1, "ceil") | 7|round(1) | 15|round(-1) | 25|round(-1) | -2.5|round | 2.5|round|int | 3.99|int | "12"|int | "12.7"|int | " 12 "|int | "0x1A"|int(0, 16) | "1_000"|int | "x"|int(9) | none|int | [1]|int(5) | "1e3"|float | "x"|float | "inf"|float | "-nan"|float | true|int | "12"|float | -3|abs | -2.5|abs | "a"|abs | true|abs
"a\nb\n\nc"|indent | "a\nb"|indent(2, true) | "a\n\nb"|indent(2, blank=true) | "a\nb"|indent("> ") | "a\nb"|indent(width=1, first=True) | 5|indent | "foo bar baz qux"|truncate(9) | "foo bar baz qux"|truncate(9, true) | "foo bar baz qux"|truncate(11) | "foo bar baz qux"|truncate(11, false, "…", 0) | "a"|center(5) | "<a href='x'>&</a>"|e | "<b>"|escape|escape | "<b>"|forceescape | "<b>"|safe | ("<b>"|e) + "<" | "<" + ("<b>"|e) | ["<"|e] | "<p>a  <b>b</b></p>"|striptags | "a b/c?é"|urlencode | {"a": 1, "b": "x y"}|urlencode | {"a": "<", "b": none}|xmlattr | 1000|filesizeformat | 1024|filesizeformat(true) | 1|filesizeformat | 123456789|filesizeformat
i is odd | i is even | i is divisibleby 7 | i is divisibleby(3) | i is number | t is number | t is integer | i is integer | f is float | i is float | t is boolean | s is string | n is none | n is defined | missing is defined | missing is undefined | d is mapping | l is mapping | l is sequence | s is sequence | d is sequence | i is sequence | missing is sequence | l is iterable | i is iterable | s is iterable | range is callable | s is callable | missing is callable | s is lower | "ab" is lower | "AB" is upper | i is sameas 7 | n is sameas none | i is eq 7 | i is ne 7 | i is lt 8 | i is gt 8 | i is le(7) | i is ge 7 | i is lessthan 8 | i is in [7] | "e" is in s | t is true | t is false | 1 is true | not i is odd | i is not odd | "upper" is filter | "nope" is filter | "odd" is test | "<"|e is escaped | s is escaped | (l|select) is iterable | (l|select) is sequence | d.items() is sequence | d.items() is iterable | i is not defined | i is string or t is boolean
range(3)|list | range(1, 4)|list | range(5, 0, -2)|list | range(0)|list | range(3) | range(1, 9, 2) | range(3)|length | range(200000) | range("a") | range(1, 2, 0) | dict(a=1, b=2) | dict({"a": 1}, b=2) | dict([["a", 1]]) | namespace(a=1).a | namespace({"a": 2}).a | namespace(a=1).b is defined | namespace(a=1) | joiner()() | strftime_now("%Y-%m-%d") | strftime_now("%d %B %Y %H:%M:%S %A %j %%") | raise_exception("boom") | range.__class__ | "a".__class__ | l.index(2) | l.count(1) | l.index(9) | (1, 2).index(2) | (1.0).is_integer() | (5).bit_length() | i.real
1 + "a" | "a" + 1 | "a" + none | none + 1 | [1] + (2,) | {} + {} | -"a" | 1 < "a" | none < 1 | [] < {} | 1 in 5 | 1 in "a" | {[]: 1} | l["a"] | l[none] | s["upper"]() | d[[1]] | 5 | 5 / 0 | 5 // 0 | 5 % 0 | 5.0 / 0 | s() | none() | none.x | none["x"] | i.x | l.x | 1[0] | s[1:"a"] | s[::0] | d[1:2] | i[1:] | "a" * -1 | "a" * 1.5 | [] == () | [1, [2]] == [1, [2]] | {"a": 1} == {"a": 1.0}
dict(**{"a": 1}) | "{}{}".format(*[1, 2]) | [1, 2,] | (1, 2,) | {"a": 1,} | range(*[3])|list | dict(**missing) | s|default | (s)|upper|lower | s | upper | -i|abs | i|string|length + 1 | 1 ~ 2 + 3 | 2 * "a" ~ "b" | not i in l | i not in l and true | l == [3, 1, 2] | words[0][0] | messages[0].content | messages[-1].tool_calls[0].function.arguments|tojson | messages|map(attribute="role")|join(",") | messages[-1]["content"]|trim | messages|length
"%s" | s|nope | s is nope | 1 + | (1 | [1, | {"a" 1} | 'a | 1 2 | a.b. | a..b | a[ | x if | 1.2.3 | "\N{DASH}x" | @ | a!b | = | f(a=1, 2) | f(*a, *b) | f(**a, b) | is | not | in | true.x | 0777 | 1__0
""".strip().split("\n")

STATEMENTS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{{ loop.depth }}{% endfor %}",
    "{% for x in l|select %}{{ loop.length }}{{ loop.last }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d|items %}{{ k }}{% endfor %}{% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}E{% endfor %}", "{% for x in l %}{% continue %}{% else %}E{% endfor %}", "{% for x in l %}{% else %}E{% endfor %}",
    "{% break %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for x in nested recursive %}{% if x is iterable %}[{{ loop(x) }}]{{ loop.depth }}{% else %}{{ x }}{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop(l) }}{% endfor %}",
    "{% for x in l %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in l %}{% set y = x %}{{ y }}{% endfor %}{{ y }}", "{% set y = 0 %}{% for x in l %}{{ y }}{% set y = x %}{{ y }}{% endfor %}{{ y }}",
    "{% set ns = namespace(n=0) %}{% for x in l %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}{{ ns }}",
    "{% set ns.x = 1 %}", "{% set d.x = 1 %}", "{% set x = namespace() %}{% set x.a.b = 1 %}", "{% for loop in l %}{% endfor %}", "{% for x in l %}{% set loop = 1 %}{% endfor %}",
    "{% if i > 5 %}{% set z = 1 %}{% endif %}{{ z }}{% if false %}{% set i = 9 %}{% endif %}{{ i }}",
    "{% if i == 1 %}a{% elif i == 7 %}b{% else %}c{% endif %}", "{% if missing %}a{% elif none %}b{% else %}c{% endif %}", "{% if 1, 2 %}t{% endif %}", "{% if true %}{% else %}{% else %}{% endif %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = 'xy' %}{{ a }}{{ b }}", "{% set a = 1, %}{{ a }}", "{% set (a, b) = [1, 2, 3] %}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{% set a.b = 2 %}",
    "{% set a %}x{{ i }}{% endset %}[{{ a }}]{{ a|length }}", "{% set a | upper | trim %} x {% endset %}[{{ a }}]", "{% set a %}{% set q = 5 %}{% endset %}{{ q }}", "{% set a|length %}abc{% endset %}{{ a + 1 }}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, c=3) }}|{{ m(1, 5, 6) }}|{{ m() }}|{{ m(b=1, a=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}", "{% macro m(a, a2=a) %}{{ a2 }}{% endmacro %}{{ m(4) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a }}{{ varargs|length }}{% endmacro %}{{ m(1, 2, 3) }}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a) %}{{ caller() }}{{ a }}{% endmacro %}{% call m(1) %}C{{ i }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(x, y=5) m() %}{{ x }}{{ y }}{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% macro m() %}{% if caller %}{{ caller() }}{% else %}no{% endif %}{% endmacro %}{{ m() }}{% call m() %}yes{% endcall %}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}", "{% macro m() %}{{ q }}{% endmacro %}{% set q = 1 %}{{ m() }}{% set q = 2 %}{{ m() }}", "{{ m }}{% macro m() %}{% endmacro %}{{ m }}{{ m.name }}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% set q = 1 %}{% macro m() %}{% set q = 2 %}{{ q }}{% endmacro %}{{ m() }}{{ q }}", "{% call i() %}{% endcall %}", "{% call i %}{% endcall %}",
    "{% filter upper %}a{{ i }}b{% endfilter %}", "{% filter replace('a', 'b')|upper %}aXa{% endfilter %}", "{% filter length %}abc{% endfilter %}", "{% filter nope %}{% endfilter %}", "{% filter upper %}{% set zz = 1 %}{% endfilter %}{{ zz }}",
    "{% with a = 1, b = i %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }}", "{% block x %}B{{ i }}{% endblock %}", "{% block x %}B{% endblock x %}",
    "{% raw %}{{ x }}{% if %}{% endraw %}|", "a {%- raw -%} b {%- endraw -%} c", "  {% raw %}\n x\n  {% endraw %}\ny", "{% raw %}a", "{# c #}x{#- d -#} y", "a\n  {# c #}\nb", "{# a", "{{ '{{' }}{{ '%}' }}", "{{ '}}' }}{{ {'a': {'b': 1}}.a.b }}",
    "{% generation %}g{{ i }}{% endgeneration %}x", "{% for x in l %}{% generation %}{% set a = x %}{{ a }}{% endgeneration %}{{ a }}{% endfor %}", "{% print i, f %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% if false %}{% include 'x' %}{% endif %}ok",
    "{% nope %}", "{% if %}{% endif %}", "{% for %}", "{% endif %}", "{% if true %}", "{% for x in l %}", "{{ }}", "{{ i", "{% if i", "{%", "{{", "a{", "{", "{ {", "{a}", "%}", "}}", "{% set %}", "{% set x %}", "{% macro %}", "{{ i }} }}", "{{ [1 }}", "{{ (1] }}", "{% do l.append(1) %}",
    "a\n{% if true %}\n  b\n{% endif %}\nc\n", "a\n  {% if true %}  \n  b\n  {%+ endif %}\nc", "  {%- if true -%}  x  {%- endif -%}  ", "a {{- i -}} b", "{%+ if true %}\n\nx{% endif +%}\ny", "x  {% if true %}y{% endif %}  z", "\n{% if true %}\n{% endif %}\n", "  {{ i }}\n  {{ i }}\n\n", "a\r\nb\rc\r\n{% if true %}\r\nd{% endif %}", "{% if true -%}\n\n x\n\n{%- endif %}\n", "a\n \t{%- set x = 1 %}\n b", "{% set x = 1 +%}\nb", "{{ 'a' }}  {% set x = 1 %}  b", "{{ i -}}\n  b", "a\n   {%+ set x = 1 %}b", "{% if true %}  {% if true %}x{% endif %}  {% endif %}", "{{ '\n' }}{% if true %} {% endif %}", "{% set x = '''a''' %}", "\u00a0{% if true %}x{% endif %}", "a\n\u00a0{% if true %}x{% endif %}", "{%- for m in messages %}\n  {{- m.role }}: {{ m.content }}\n{%- endfor %}\n",
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>\n{{ m['content'] }}<|end|>\n{% elif m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if m.tool_calls is defined and m.tool_calls %}{% for tc in m.tool_calls %}{{ tc.function.name }}({% for k, v in tc.function.arguments.items() %}{{ k }}={{ v|tojson }}{% if not loop.last %}, {% endif %}{% endfor %}){% endfor %}{% endif %}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}{% for m in rest %}{{ loop.index0 % 2 == 0 }}{{ m.role }}{% endfor %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}", "{% set j = joiner('|') %}{{ j() }}a{{ j() }}b{{ j() }}", "{{ d.update({'z': 1}) }}", "{{ l.append(1) }}", "{{ l.sort() }}", "{{ d.pop('b') }}", "{{ d.setdefault('q', 1) }}", "{{ d.clear is defined }}",
    "{% if false %}{{ s|nope }}{% endif %}ok", "{% if true %}{{ s|nope }}{% endif %}", "{% if false %}{% for x in l %}{{ s|nope }}{% endfor %}{% endif %}ok", "{{ s|nope if false else 'ok' }}", "{{ 'ok' if true or (s is nope) }}", "{% for x in [] %}{{ s is nope }}{% endfor %}ok",
    # What the official templates do: look back for the last question, cut out thoughts, number
    # tools, write schemas with macros, join parts, date, refuse.
    "{%- set ns = namespace(multi=true, last=messages|length - 1) %}{%- for m in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi and m.role == 'user' and m.content is string and not(m.content.startswith('<tool>') and m.content.endswith('</tool>')) %}{%- set ns.multi = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}{{ ns.last }}",
    "{% set content = '<think>\n a b\n</think>\n\nyes' %}{% if '</think>' in content %}{% set reason = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{% set content = content.split('</think>')[-1].lstrip('\n') %}[{{ reason }}][{{ content }}]{% endif %}",
    "{%- macro strip(c) -%}{%- set ns = namespace(out='') -%}{%- for p in c.split('<|a|>') -%}{%- if '<|b|>' in p -%}{%- set ns.out = ns.out + p.split('<|b|>')[-1] -%}{%- else -%}{%- set ns.out = ns.out + p -%}{%- endif -%}{%- endfor -%}{{- ns.out | trim -}}{%- endmacro -%}[{{ strip(' x<|a|>q<|b|>y<|a|>z ') }}]",
    "{%- macro kind(spec, depth=0) -%}{%- if spec.type is string -%}{%- if spec.type == 'array' -%}list[{{ kind(spec['items'], depth + 1) }}]{%- elif spec.type == 'object' -%}{ {%- for k, v in spec.properties.items() %}{{ ', ' if not loop.first }}{{ k }}{{ '?' if k not in spec.get('required', []) }}: {{ kind(v, depth + 1) }}{% endfor -%} }{%- else -%}{{ {'string': 'str', 'integer': 'int'}.get(spec.type, spec.type) }}{%- endif -%}{%- elif spec.type is iterable -%}{{ spec.type | join(' | ') }}{%- else -%}any{%- endif -%}{%- endmacro -%}{{ kind({'type': 'object', 'properties': {'a': {'type': 'string'}, 'b': {'type': 'array', 'items': {'type': 'integer'}}, 'c': {'type': ['string', 'null']}, 'd': {}}, 'required': ['a']}) }}",
    "{% for m in messages %}{% if loop.previtem is defined and loop.previtem.role != m.role %}<{{ loop.previtem.role }}>{% endif %}{{ m.role }}{% if loop.nextitem is not defined or loop.nextitem.role != 'assistant' %}!{% endif %}{% endfor %}",
    "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}{%- set rest = messages[1:] -%}{%- else -%}{%- set system = none -%}{%- set rest = messages -%}{%- endif -%}{{ system }}|{%- for m in rest -%}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate') }}{%- endif -%}{{ m.role }},{%- endfor -%}",
    "{% for m in messages|selectattr('role', 'in', ['user', 'assistant'])|rejectattr('tool_calls', 'defined') %}{{ m.role }}{% endfor %}|{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list|last }}|{{ (messages|selectattr('tool_calls', 'defined')|list|first).tool_calls|length }}",
    "{%- for p in [{'type': 'text', 'text': 'a'}, {'type': 'image'}, {'type': 'text', 'text': 'b'}] -%}{%- if p.type == 'text' -%}{{- p.text -}}{%- elif 'image' in p or p.type == 'image' -%}<image>{%- endif -%}{%- endfor -%}",
    "{% set tool = messages[-1].tool_calls[0] %}{% if tool.function %}{% set tool = tool.function %}{% endif %}{{ '{\"name\": \"' + tool.name + '\", \"arguments\": ' }}{% if tool.arguments is string %}{{ tool.arguments }}{% else %}{{ tool.arguments|tojson }}{% endif %}{{ '}' }}",
    "{{- '\n\n# Tools\n' if messages and l is not none else '' }}{%- for x in l %}{{- '\n' ~ loop.index ~ '. ' ~ (x | tojson(indent=2)) }}{%- endfor %}",
    "{%- set a = enable if enable is defined else true -%}{%- set b = a and not (none_of_it | default(false)) -%}{{ a }}{{ b }}{{ d.zz is defined }}",
    "{%- for k in d | dictsort -%}{{ k[0] }}={{ k[1] | string | truncate(6, true, '…', 0) }};{%- endfor -%}{%- for k, v in d.items() | sort(attribute='0') %}{{ k }}{% endfor -%}",
    "{%- macro call(f) %}{{ caller(f.name) if caller is defined else f.name }}{% endmacro -%}{% call(n) call({'name': 'f'}) %}<{{ n }}>{% endcall %}{{ call({'name': 'g'}) }}",
    "{%- set out = [] -%}{%- set out = out + ['a'] -%}{%- for w in words -%}{%- set out = out + [w] -%}{%- endfor -%}{{ out }}{%- set ns = namespace(out=[]) -%}{%- for w in words -%}{%- set ns.out = ns.out + [w|lower] -%}{%- endfor -%}{{ ns.out|join(', ') }}",
    "{{ '%s: %s' | format('a', 1) }}{{ '{:>4}|{:<4}|{:^4}'.format('a', 'b', 'c') }}{{ 'a,b,c'.split(',', 1) }}{{ 'a b  c'.split() }}{{ ('x' if false) ~ '|' }}{{ 'abc'[-2:] }}{{ 'abc'[::-1] }}{{ l[1:][0] }}",
    "{%- for m in messages -%}{%- set role = 'model' if m.role == 'assistant' else m.role -%}{%- if loop.first and role == 'system' -%}{%- continue -%}{%- endif -%}{{ role }}{%- if loop.last -%}{%- break -%}{%- endif -%},{%- endfor -%}",
    "{%- set s -%}\n  {%- if i > 3 %}big{% endif -%}\n{%- endset -%}[{{ s }}]{%- set s2 %}  x\n{% endset -%}[{{ s2 | trim }}{{ s2 | length }}]",
    "{%- filter trim | indent(2, first=true) -%}\n a\n b\n{%- endfilter -%}", "{% generation %}{% if true %}x{% endif %}{% endgeneration %}{%- generation -%} y {%- endgeneration -%}",
    "{{ strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' }}", "{{ messages[5] is defined }}{{ messages[0].nope is defined }}", "{{ messages[0]['nope']['deeper'] }}", "{{ (messages|last)['content'] is string }}{{ messages|first is mapping }}",
    "{{ 1 if none else 2 if false else 3 }}{{ not none and true }}{{ 'a' in {'a': 1} and 'b' not in ['a'] }}{{ 3 > 2 > 1 }}{{ 1 == 1.0 == true }}", "{{ l|sort|reverse|list }}{{ l|sort(reverse=true)|first }}{{ words|sort(case_sensitive=false)|join }}{{ words|unique|join }}", "{{ d['a']|map('string')|join('/') }}{{ d.get('zz', 'no') }}{{ d.get('zz') }}{{ d['items'] }}{{ d.items is string }}",
    "{{ {'a': [1, {'b': none}]}|tojson(indent=4) }}{{ {'é': '<&>'}|tojson }}{{ 'a\\nb\"'|tojson }}{{ [1.0, 1e-7, 12345678901234567.0]|tojson }}", "{{ (s|length * 2 - 1) // 4 }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 2 ** 10 }}{{ 2 ** -1 }}", "{{ x.y }}", "{{ x['y'] }}", "{{ none.y }}", "{{ s.nope() }}", "{{ s|attr('upper') is callable }}", "{{ range(2, 8, 3)|list }}{{ range(3)|last }}", "{{ dict(missing) }}", "{{ missing|attr('a') }}", "{{ '{:,}'.format('a') }}", "{{ [] is filter }}", "{{ 'x'|filesizeformat }}",
    "{% set g = l|map('string') %}{{ g|list }}{{ g|list }}", "{% set g = l|select %}{{ g|first }}{{ g|list }}", "{{ (l|map('nope')) is iterable }}", "{% for x in l|map('nope') %}{% endfor %}", "{% set range = 5 %}{{ range }}", "{{ caller }}", "{{ loop }}{{ loop is defined }}", "{% for x in l %}{{ loop|length }}{% endfor %}", "{% for x in [1] %}{{ loop.nope is defined }}{% endfor %}",
]


def expressions():
    """Cuts a line at " | " into cases; filters are written without spaces around the bar."""
    for line in EXPRESSIONS:
        for part in line.split(" | "):
            yield "{{ " + part.strip() + " }}"


def main():
    env = environment()
    cases = []
    for template in list(expressions()) + STATEMENTS:
        row = {"template": template}
        try:
            row["output"] = env.from_string(template).render(**CONTEXT)
        except Exception as error:  # noqa: BLE001: any refusal counts
            row["error"] = type(error).__name__
        if " at 0x" not in row.get("output", ""):  # addresses differ from run to run
            cases.append(row)
    out = {"made_by": f"make.py, Jinja2 {jinja2.__version__}", "context": CONTEXT, "cases": cases}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(out, ensure_ascii=True, indent=0, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
