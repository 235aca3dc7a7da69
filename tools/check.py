#!/usr/bin/python3
"""The rules of the house that a script keeps: tools/check.py [--rule NAME] [--build DIR]

Prints `path:line: message` for every breach, then `N passed, N failed` (rules), and exits 1 if one
was broken. A line that begins with `note:` is advice. Every rule is a function from a Tree to
Findings, listed in RULES at the end; tools/selftest.py shows each of them a good and a bad sample.

The tables at the top are the house's decisions; an exception goes there, with its reason.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# ---- The house's decisions ----------------------------------------------------------------------

# What each layer's files may include of other layers' faces. The order is
# base → {data, resp} → keyspace → {tx, persist} → {script, repl} → cmd → acl → worker → main;
# the two of a pair do not know each other; io and config know base alone.
BELOW = {"base": set()}
BELOW["io"] = {"base"}
BELOW["config"] = {"base"}
BELOW["data"] = {"base"}
BELOW["resp"] = {"base"}
BELOW["keyspace"] = {"base", "data", "resp"}
BELOW["tx"] = BELOW["keyspace"] | {"keyspace"}
BELOW["persist"] = BELOW["tx"] | {"io"}
BELOW["script"] = BELOW["tx"] | {"tx", "persist"}
BELOW["repl"] = BELOW["script"] | {"io"}
BELOW["cmd"] = BELOW["script"] | {"script", "repl"}
BELOW["acl"] = {"base", "resp", "cmd"}
BELOW["worker"] = BELOW["cmd"] | {"cmd", "acl", "io", "config"}
BELOW["admin"] = {"base", "io", "config", "worker"}  # beside main: what an onlooker may know

# Files that may use atomics, and what for. Everywhere else a thing has one thread, or is a message.
ATOMICS = [
    (r"base/mailbox", "the ring between two workers: its two indices"),
    (r"base/counters", "shared sums: ids, maxclients, memory leases"),
    (r"(keyspace|tx)/holder", "the shard's word: HELD, FREE, BORROWED, WANTED"),
    (r"io/(engine|io|uring|epoll)", "the kernel's rings; the wake-up of a sleeping io_wait"),
    (r"io/log", "the log's descriptor and level: every thread logs"),
    (r"worker/progress", "a batch's progress counter (DESIGN 3.7)"),
    (r"worker/sleep", "a worker's announcement that it sleeps"),
    (r"worker/stop", "the shared words that all workers obey: stop, pause"),
]

# Symbols the core (every layer but io) may not need: the outside world comes in as arguments.
FORBIDDEN_SYMBOLS = {
    "clock": "clock_gettime clock_nanosleep gettimeofday time times clock nanosleep usleep sleep "
             "localtime localtime_r gmtime gmtime_r mktime timerfd_create timer_create",
    "random": "getrandom getentropy rand rand_r srand random srandom drand48 arc4random",
    "file": "open open64 openat openat64 creat read write pread pread64 pwrite pwrite64 readv "
            "writev close fopen fopen64 fclose fread fwrite_unlocked rename renameat unlink fsync "
            "fdatasync ftruncate ftruncate64 stat fstat lstat stat64 fstat64 mkdir opendir readdir "
            "dup dup2 fcntl fcntl64 ioctl pipe pipe2 mmap mmap64 munmap madvise eventfd syscall",
    "socket": "socket socketpair bind listen accept accept4 connect send sendto sendmsg recv "
              "recvfrom recvmsg setsockopt getsockopt shutdown getaddrinfo poll ppoll select "
              "epoll_create1 epoll_ctl epoll_wait epoll_pwait2",
    "thread": "pthread_create pthread_join pthread_mutex_lock pthread_cond_wait pthread_self "
              "pthread_key_create thrd_create mtx_lock sched_yield sched_setaffinity fork vfork "
              "execve waitpid kill raise signal sigaction",
    "memory": "malloc free calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup "
              "asprintf vasprintf getline open_memstream mi_malloc mi_free mi_zalloc mi_calloc "
              "mi_realloc mi_malloc_aligned",
}
FORBIDDEN = {name: kind for kind, names in FORBIDDEN_SYMBOLS.items() for name in names.split()}

# layer/file, kinds of symbols it may need after all, and why.
SYMBOL_EXCEPTIONS = [
    ("base/mem", {"memory"}, "the one place that allocates"),
    ("base/mem", {"file"}, "mmap, munmap, madvise: address space is memory too"),
    ("base/check", {"file"}, "write: the last words of a process that found a bug"),
]

# layer/file, name of a writable global, and why it may be one.
GLOBAL_EXCEPTIONS = []

LINES_MAX = 1000
LINES_NOTE = 600
FACE_LINES_MAX = 300
MAIN_LINES_MAX = 200
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
NARRATIVE_LINES_MIN = 3

# Words that mean "unfinished". Put together here, so that this file passes its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(["FIX" + "ME", "TO" + "DO", "XX" + "X"]) + r")\b")

# ---- The tree -----------------------------------------------------------------------------------


@dataclass
class Finding:
    path: str
    line: int
    message: str
    note: bool = False

    def __str__(self):
        return f"{'note: ' if self.note else ''}{self.path}:{self.line}: {self.message}"


@dataclass
class Tree:
    """The project's own files: path (from the root, with /) → text."""
    root: Path
    files: dict = field(default_factory=dict)
    build: Path = None  # a build folder, or None: rules that look at objects are skipped

    def select(self, *suffixes, under=()):
        for path, text in sorted(self.files.items()):
            if path.endswith(suffixes) and (not under or path.startswith(tuple(under))):
                yield path, text


def load(root, build):
    """All files that git tracks or would track; without git, all but the build folders."""
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # no git, or not a clone
        names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()
                 and not re.match(r"build|\.git", p.relative_to(root).parts[0])]
    tree = Tree(root, build=build)
    for name in names:
        try:
            tree.files[name] = (root / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # not text, or deleted but still in the index
    return tree


def blank(match):
    """Spaces for everything but line ends, so that lines and columns stay."""
    return re.sub(r"[^\n]", " ", match.group(0))


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without_comments(text, strings=True):
    """C without comments and, unless told otherwise, without the contents of strings."""
    def replace(match):
        comment = match.group(0).startswith(("/*", "//"))
        return blank(match) if comment or strings else match.group(0)
    return TOKEN.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def layer_of(path):
    match = re.match(r"(?:src|include/splitring)/(\w+)/", path)
    return match.group(1) if match else None


def in_table(path, table):
    match = re.match(r"(?:src|include/splitring)/(.+)\.[ch]$", path)
    return bool(match) and any(re.match(row[0], match.group(1)) for row in table)


# ---- Rules about text ---------------------------------------------------------------------------

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


def includes(text):
    """(line, quote, name) of each #include."""
    code = without_comments(text, strings=False)
    for match in INCLUDE.finditer(code):
        yield line_of(code, match.start()), match.group(1), match.group(2)


def rule_layers(tree):
    """A layer includes only faces of layers below it, and only its own private headers."""
    for path, text in tree.select(".c", ".h", under=("src/", "include/")):
        layer = layer_of(path)
        if layer is None:  # src/main.c stands above all
            continue
        if layer not in BELOW:
            yield Finding(path, 1, f"unknown layer '{layer}': add it to BELOW in tools/check.py")
            continue
        for line, quote, name in includes(text):
            face = re.match(r"splitring/(\w+)/", name)
            if face and face.group(1) != layer and face.group(1) not in BELOW[layer]:
                yield Finding(path, line, f"{layer} may not include the face of {face.group(1)}")
            elif not face and quote == '"' and "/" in name and name.split("/")[0] != layer:
                yield Finding(path, line, f'"{name}" is not a face: include "splitring/…"')


def rule_faces(tree):
    """Every face says who may call it, in a line `Thread: …`."""
    for path, text in tree.select(".h", under=("include/splitring/",)):
        if not re.search(r"\bThread: \S", text):
            yield Finding(path, 1, "a face without a `Thread:` line")


def rule_liburing(tree):
    """<liburing.h> and OpenSSL are known to src/io alone."""
    for path, text in tree.select(".c", ".h", under=("src/", "include/")):
        if path.startswith("src/io/"):
            continue
        for line, _, name in includes(text):
            if name.startswith(("liburing", "openssl/")):
                yield Finding(path, line, f"only src/io may include <{name}>")


ATOMIC = re.compile(r"\bstdatomic\.h|\b_Atomic\b|\b__atomic_\w+|\b__sync_\w+|\batomic_\w+")


def rule_atomics(tree):
    """Atomics are used in a few named files only."""
    for path, text in tree.select(".c", ".h", under=("src/", "include/")):
        if in_table(path, ATOMICS):
            continue
        code = without_comments(text)
        for match in ATOMIC.finditer(code):
            yield Finding(path, line_of(code, match.start()),
                          f"{match.group(0)}: atomics have their own files (ATOMICS in check.py)")
            break


def rule_narrative(tree):
    """Every .c file opens with a comment that tells what it is."""
    for path, text in tree.select(".c"):
        match = re.match(r"\s*(/\*.*?\*/|(?:[ \t]*//[^\n]*\n)+)", text, re.S)
        lines = match.group(1).strip().count("\n") + 1 if match else 0
        least = NARRATIVE_LINES_MIN if path.startswith("src/") else 1
        if lines < least:
            yield Finding(path, 1, f"opens with {lines} lines of comment; tell its story in "
                                   f"{least} or more")


def rule_sizes(tree):
    """Files, faces and main stay within their number of lines."""
    for path, text in tree.select(".c", ".h", ".py"):
        lines = text.count("\n")
        limit = LINES_MAX
        if path.startswith("include/splitring/"):
            limit = FACE_LINES_MAX
        elif path == "src/main.c":
            limit = MAIN_LINES_MAX
        if lines > limit:
            yield Finding(path, lines, f"{lines} lines, at most {limit}")
        elif lines > LINES_NOTE:
            yield Finding(path, lines, f"{lines} lines; {LINES_NOTE} is the aim", note=True)


def functions(text):
    """(first line, line of the brace, last line) of each function, by braces in column 0."""
    lines = without_comments(text).split("\n")
    opened = None
    for number, line in enumerate(lines, 1):
        if opened is None:
            head = re.match(r"[A-Za-z_][^;=]*\)[^;=]*\{\s*$", line)
            if line.rstrip() == "{" or (head and not re.match(r"(struct|enum|union)\b", line)):
                opened = number
        elif line.startswith("}"):
            if line.rstrip() == "}":
                yield start_of_function(lines, opened), opened, number
            opened = None


def start_of_function(lines, brace):
    """The signature's first line: back from the brace to what ends the thing before it."""
    number = brace
    while number > 1:
        before = lines[number - 2].rstrip()
        if not before.strip() or before.endswith((";", "}", "*/")) or before.startswith("#"):
            break
        number -= 1
    return number


def rule_functions(tree):
    """A function fits on a screen, unless a line above it says `/* exempt: why */`."""
    for path, text in tree.select(".c", ".h"):
        lines = text.split("\n")
        for start, brace, end in functions(text):
            above = "\n".join(lines[max(0, start - 4):brace])
            if end - brace + 1 > FUNCTION_LINES_MAX and "/* exempt:" not in above:
                yield Finding(path, start, f"a function of {end - brace + 1} lines, at most "
                                           f"{FUNCTION_LINES_MAX}")


def rule_columns(tree):
    """No line is longer than a hundred columns; C has no tabs."""
    for path, text in tree.select(".c", ".h", ".py"):
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > COLUMNS_MAX:
                yield Finding(path, number, f"{len(line)} columns, at most {COLUMNS_MAX}")
            if "\t" in line and not path.endswith(".py"):
                yield Finding(path, number, "a tab")


def rule_unfinished(tree):
    """Main has no reminders: an issue is the place for them."""
    for path, text in tree.select(""):
        for match in UNFINISHED.finditer(text):
            yield Finding(path, line_of(text, match.start()), f"{match.group(0)}: file an issue")


# ---- Rules that compile -------------------------------------------------------------------------

def include_flags(tree):
    """-I for the faces and for the folders of generated headers, if something was built."""
    flags = ["-I" + str(tree.root / "include"), "-I" + str(tree.root / "src")]
    if tree.build:
        found = {path.parent for path in tree.build.glob("src/**/*.h")}
        found |= {path.parent for path in tree.build.glob("include/**/*.h")}
        flags += ["-I" + str(path) for path in sorted(found)]
    return flags


def compile_header(tree, path, flags):
    command = ["gcc", "-std=c17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra",
               "-I" + str((tree.root / path).parent), *flags, "-x", "c", "-"]
    # Included twice: an include guard belongs to a header that stands alone.
    source = f'#include "{tree.root / path}"\n' * 2
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    error = re.search(r"^(.*?):(\d+):\d+: (?:fatal )?error: (.*)$", done.stderr, re.M)
    if not tree.build and error and error.group(3).endswith("No such file or directory"):
        return None  # a generated header; it is there once something is built
    if not error:
        return Finding(path, 1, "does not compile alone: " + done.stderr.strip()[:200])
    where = os.path.relpath(error.group(1), tree.root)
    what = f"does not compile alone: {error.group(3)}"
    if where == path:
        return Finding(path, int(error.group(2)), what)
    return Finding(path, 1, f"{what} ({where}:{error.group(2)})")


def rule_headers(tree):
    """Every header compiles alone."""
    flags = include_flags(tree)
    paths = [path for path, _ in tree.select(".h", under=("src/", "include/"))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda path: compile_header(tree, path, flags), paths)
        yield from [finding for finding in found if finding]


# ---- Rules about objects ------------------------------------------------------------------------

def without_lto(arguments):
    """A compile command that makes a plain object: link-time ones do not show their statics."""
    out, skip = [], False
    for word in arguments:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MQ", "-MT"):
            skip = True
        elif not word.startswith("-flto") and word not in ("-MD", "-c", "-ffat-lto-objects"):
            out.append(word)
    return out + ["-fno-lto", "-O1", "-w", "-c"]


def newest_header(build, root):
    times = [path.stat().st_mtime for folder in (root / "src", root / "include", build / "src")
             for path in folder.rglob("*.h")]
    return max(times, default=0)


def core_objects(tree):
    """Objects of every layer but io, compiled anew into BUILD/check-objects/ where they are
    missing or old: (source path, object path). Needs BUILD/compile_commands.json."""
    database = json.loads((tree.build / "compile_commands.json").read_text())
    folder = tree.build / "check-objects"
    headers = newest_header(tree.build, tree.root)
    jobs = []
    for entry in database:
        if "-fsanitize" in entry["command"]:
            return  # a sanitizer's build: its objects are full of the sanitizer's symbols
        source = Path(os.path.normpath(os.path.join(entry["directory"], entry["file"])))
        try:
            path = source.relative_to(tree.root).as_posix()
        except ValueError:
            continue
        path = re.sub(r"^build[^/]*/", "", path)  # a generated source counts for its layer
        if layer_of(path) in (None, "io") or not path.endswith(".c"):
            continue
        jobs.append((path, source, folder / (path.replace("/", "_") + ".o"), entry))

    def compile_one(job):
        path, source, target, entry = job
        if not target.exists() or target.stat().st_mtime < max(headers, source.stat().st_mtime):
            folder.mkdir(exist_ok=True)
            command = without_lto(shlex.split(entry["command"])) + ["-o", str(target)]
            done = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True)
            if done.returncode != 0:
                return path, None
        return path, target

    unique = {target: (path, source, target, entry) for path, source, target, entry in jobs}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(compile_one, unique.values())


SYMBOL_LINE = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+\s+(?:\.hidden )?(\S+)$", re.M)
WRITABLE = re.compile(r"\.(bss|tbss|tdata|data(?!\.rel\.ro))|\*COM\*")


def symbols(target):
    """(flags, section, name) of each symbol of an object; objdump, unlike nm, tells a table of
    constant pointers (.data.rel.ro) from a writable one (.data)."""
    done = subprocess.run(["objdump", "-t", "-w", str(target)], capture_output=True, text=True)
    return SYMBOL_LINE.findall(done.stdout)


def name_of(path):
    return re.sub(r"^(?:src|include/splitring)/(.+)\.c$", r"\1", path)


def writable_globals(path, table):
    """Names of data that the program may write, in one object's symbol table."""
    excused = {row[1] for row in GLOBAL_EXCEPTIONS if row[0] == name_of(path)}
    for flags, section, name in table:
        name = name.split(".")[0]  # a function's static is name.NUMBER
        if WRITABLE.match(section) and "d" not in flags and name not in excused:
            yield name


def rule_globals(tree):
    """The core has no writable globals and no thread-locals: N workers fit in one thread."""
    for path, target in core_objects(tree) if tree.build else ():
        for name in writable_globals(path, symbols(target)) if target else ():
            text = tree.files.get(path, "")
            match = re.search(r"\b" + re.escape(name) + r"\b", without_comments(text))
            yield Finding(path, line_of(text, match.start()) if match else 1,
                          f"'{name}' is a writable global")


def forbidden_symbols(path, table):
    """(name, kind) of undefined symbols that the core may not need."""
    excused = set()
    for where, kinds, _ in SYMBOL_EXCEPTIONS:
        if where == name_of(path):
            excused |= kinds
    for _, section, name in table:
        name = re.sub(r"@.*", "", name)
        kind = FORBIDDEN.get(name)
        if section == "*UND*" and kind and kind not in excused:
            yield name, kind


def rule_symbols(tree):
    """The core asks for no clock, random, file, socket or thread, and for memory only in mem."""
    for path, target in core_objects(tree) if tree.build else ():
        for name, kind in forbidden_symbols(path, symbols(target)) if target else ():
            text = tree.files.get(path, "")
            match = re.search(r"\b" + re.escape(name) + r"\s*\(", without_comments(text))
            yield Finding(path, line_of(text, match.start()) if match else 1,
                          f"needs {name} ({kind}): the core gets it from outside")


# ---- The lot ------------------------------------------------------------------------------------

RULES = [
    rule_layers, rule_faces, rule_liburing, rule_atomics, rule_narrative, rule_sizes,
    rule_functions, rule_columns, rule_unfinished, rule_headers, rule_globals, rule_symbols,
]


def default_build(root):
    for name in ("build", "build-clang"):
        if (root / name / "compile_commands.json").exists():
            return root / name
    return None


def main():
    root = Path(__file__).resolve().parent.parent
    names = [rule.__name__[len("rule_"):] for rule in RULES]
    parser = argparse.ArgumentParser(prog="tools/check.py", description="The house's rules.")
    parser.add_argument("--rule", choices=names, help="this rule only")
    parser.add_argument("--build", type=Path, default=default_build(root),
                        help="build folder, for the rules that look at objects")
    options = parser.parse_args()
    tree = load(root, options.build and options.build.resolve())
    if tree.build is None:
        print("note: nothing is built; the rules about globals and symbols see nothing")
    passed = failed = 0
    for name, rule in zip(names, RULES):
        if options.rule not in (None, name):
            continue
        found = sorted(rule(tree), key=lambda finding: (finding.path, finding.line))
        for finding in found:
            print(f"{finding} [{name}]")
        broken = any(not finding.note for finding in found)
        failed += broken
        passed += not broken
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
