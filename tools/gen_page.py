#!/usr/bin/env python3
"""Puts the admin port's page into the program: tools/gen_page.py page.html page.c

Only comments and leading blanks are taken out; the page has no other parts (no script, style, font
or picture is loaded from anywhere).
"""

import re
import sys
from pathlib import Path


def main():
    source, target = map(Path, sys.argv[1:])
    text = re.sub(r"<!--.*?-->\n?", "", source.read_text(), flags=re.S)
    data = "\n".join(line.lstrip() for line in text.splitlines()).encode()
    rows = [", ".join(f"0x{byte:02x}" for byte in data[at:at + 16])
            for at in range(0, len(data), 16)]
    target.write_text('#include "page.h"\n\n_Static_assert(sizeof(char) == 1, "bytes");\n'
                      "const unsigned char page_html[] = {\n    " + ",\n    ".join(rows) + "\n};\n"
                      "const size_t page_html_len = sizeof page_html;\n")


if __name__ == "__main__":
    main()
