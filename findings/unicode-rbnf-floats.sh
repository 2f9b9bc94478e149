#!/usr/bin/env bash
# unicode_rbnf spells large numbers with floats: 16 and 17 nines end in a RecursionError in Chinese, Japanese and Korean,
# where the rule for 10^16 divides what a float has rounded up to it, and 18 nines have no rule in any of five languages.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet unicode-rbnf==2.4.1
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from unicode_rbnf import RbnfEngine

print({"unicode-rbnf": version("unicode-rbnf")})


def spelled(language, digits):
    ruleset = "spellout-numbering-verbose" if language == "en" else "spellout-numbering"
    try:
        return RbnfEngine.for_language(language).format_number(10**digits - 1, ruleset_names=[ruleset]).text
    except Exception as error:
        return type(error).__name__


found = {(language, digits): spelled(language, digits) for language in ("en", "de", "zh", "ja", "ko") for digits in (12, 15, 16, 17, 18)}
for (language, digits), text in found.items():
    print(f"{language}, {digits} nines: {text[:70]}")
errors = {place: text for place, text in found.items() if text.endswith("Error")}
recursions = {place for place, text in errors.items() if text == "RecursionError"}
assert recursions == {(language, digits) for language in ("zh", "ja", "ko") for digits in (16, 17)}, recursions
assert {place for place in errors if place not in recursions} == {(language, 18) for language in ("en", "de", "zh", "ja", "ko")}
PY
# Seen with unicode-rbnf 2.4.1: "ja, 15 nines" is spelled, "ja, 16 nines: RecursionError", "en, 17 nines" is spelled,
# "en, 18 nines: NoRuleForNumberError".
