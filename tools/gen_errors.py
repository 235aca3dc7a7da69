#!/usr/bin/env python3
"""Error texts: src/resp/errors.toml → errors_table.h (enum error_id) and errors_table.c.

usage: gen_errors.py errors.toml errors_table.h errors_table.c
"""
import re
import sys
import tomllib

PLACEHOLDER = re.compile(r"%(?:%|\.\*s|s|c|d|u|lld|llu|zu)")


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check(group, name, text):
    """A text is one line of printable ASCII that starts with its code, with known placeholders.
    Those of [fragments] stand inside others, and have no code."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SystemExit(f"errors.toml: '{name}' is no lower_case name")
    if not text.isascii() or not text.isprintable():
        raise SystemExit(f"errors.toml: {name}: not one line of printable ASCII")
    if group != "fragments" and not re.match(r"[A-Z]+( |$)", text):
        raise SystemExit(f"errors.toml: {name}: starts with no error code")
    if "%" in PLACEHOLDER.sub("", text):
        raise SystemExit(f"errors.toml: {name}: unknown placeholder")


def main():
    source, header, body = sys.argv[1:4]
    with open(source, "rb") as f:
        groups = tomllib.load(f)
    names = {}
    for group, texts in groups.items():
        for name, text in texts.items():
            check(group, name, text)
            if name in names:
                raise SystemExit(f"errors.toml: {name} is there twice")
            names[name] = (group, text)

    note = "/* Written by tools/gen_errors.py. Thread: any (constant). */\n"
    with open(header, "w", encoding="ascii") as f:
        f.write(note + "#ifndef SPLITRING_ERRORS_TABLE_H\n#define SPLITRING_ERRORS_TABLE_H\n\n")
        f.write("enum error_id {\n")
        for name, (_, text) in names.items():
            shown = text if len(text) <= 120 else text[:117] + "..."
            f.write(f"    ERR_{name.upper()}, /* {shown} */\n")
        f.write("    ERR_COUNT\n};\n\n#endif\n")
    with open(body, "w", encoding="ascii") as f:
        f.write(note + '#include "splitring/resp/errors.h"\n\n')
        f.write("static const char *const texts[ERR_COUNT] = {\n")
        for name, (_, text) in names.items():
            f.write(f"    [ERR_{name.upper()}] = {c_string(text)},\n")
        f.write("};\n\n")
        f.write("const char *error_text(enum error_id id) { return texts[id]; }\n")


if __name__ == "__main__":
    main()
