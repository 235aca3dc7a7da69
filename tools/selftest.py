"""Tests of the tools: a good and a bad sample for each rule of check.py, and for every kind of
test program that outcome.py reads. Run by tools/test; by hand:
    cd tools && /usr/bin/python3 -m unittest selftest
"""

import tempfile
import unittest
from pathlib import Path

import check
import outcome
import run_tests

STORY = "/* One.\n * Two.\n * Three. */\n"


def tree(**files):
    """A Tree of files; in the names, __ stands for / and the last _ for the dot."""
    names = {name.replace("__", "/")[::-1].replace("_", ".", 1)[::-1]: text
             for name, text in files.items()}
    return check.Tree(Path("/nowhere"), names)


def lines(rule, sample):
    return [(f.path, f.line) for f in rule(sample) if not f.note]


class TextRules(unittest.TestCase):
    def test_layers_point_down(self):
        good = tree(src__tx__lock_c='#include "splitring/keyspace/object.h"\n#include "local.h"\n',
                    src__worker__step_c='#include "splitring/io/io.h"\n',
                    src__main_c='#include "splitring/worker/worker.h"\n')
        self.assertEqual(lines(check.rule_layers, good), [])

    def test_layers_never_up_or_sideways(self):
        bad = tree(src__data__table_c='\n#include "splitring/keyspace/object.h"\n',
                   src__tx__lock_c='#include "splitring/persist/journal.h"\n',
                   src__cmd__string_c='#include "splitring/io/io.h"\n',
                   include__splitring__io__io_h='#include <splitring/data/table.h>\n',
                   src__resp__parse_c='#include "../base/private.h"\n',
                   src__resp__write_c='#include "base/private.h"\n')
        self.assertEqual(len(lines(check.rule_layers, bad)), 6)
        self.assertIn(("src/data/table.c", 2), lines(check.rule_layers, bad))

    def test_an_include_in_a_comment_is_none(self):
        good = tree(src__data__table_c='/* #include "splitring/worker/step.h" */\n')
        self.assertEqual(lines(check.rule_layers, good), [])

    def test_faces(self):
        sample = tree(include__splitring__base__a_h="/* A.\n * Thread: owner. */\n",
                      include__splitring__base__b_h="/* B. */\n")
        self.assertEqual(lines(check.rule_faces, sample), [("include/splitring/base/b.h", 1)])

    def test_liburing(self):
        sample = tree(src__io__uring_c="#include <liburing.h>\n",
                      src__io__tls_c="#include <openssl/ssl.h>\n",
                      src__worker__conn_c="#include <openssl/ssl.h>\n",
                      src__worker__step_c="\n#include <liburing.h>\n")
        self.assertEqual(lines(check.rule_liburing, sample),
                         [("src/worker/conn.c", 1), ("src/worker/step.c", 2)])

    def test_atomics(self):
        sample = tree(src__base__mailbox_c="#include <stdatomic.h>\n",
                      src__keyspace__holder_h="_Atomic int word;\n",
                      src__cmd__string_c='/* atomic_load */ "atomic_load"\nint x;\n',
                      src__cmd__list_c="\n\natomic_load(&x);\n",
                      src__cmd__hash_c="__atomic_load_n(&x, 0);\n")
        self.assertEqual(lines(check.rule_atomics, sample),
                         [("src/cmd/hash.c", 1), ("src/cmd/list.c", 3)])

    def test_narrative(self):
        sample = tree(src__base__a_c=STORY, src__base__b_c="/* Short. */\nint x;\n",
                      src__base__c_c="int x;\n" + STORY, tests__unit__d_c="/* Short. */\n",
                      tests__unit__e_c="int x;\n")
        self.assertEqual(lines(check.rule_narrative, sample),
                         [("src/base/b.c", 1), ("src/base/c.c", 1), ("tests/unit/e.c", 1)])

    def test_sizes(self):
        sample = tree(src__base__a_c="\n" * 1000, src__base__b_c="\n" * 1001,
                      include__splitring__base__a_h="\n" * 301, src__main_c="\n" * 201)
        self.assertEqual([path for path, _ in lines(check.rule_sizes, sample)],
                         ["include/splitring/base/a.h", "src/base/b.c", "src/main.c"])
        notes = [f.path for f in check.rule_sizes(sample) if f.note]
        self.assertEqual(notes, ["src/base/a.c"])

    def test_functions(self):
        body = "    x++;\n"
        sample = tree(
            src__base__a_c="static int f(int x)\n{\n" + body * 68 + "}\n",
            src__base__b_c="\n\nstatic int f(int x,\n             int y)\n{\n" + body * 69 + "}\n",
            src__base__c_c="int f(int x) {\n" + body * 69 + "}\n",
            src__base__d_c="/* exempt: one case per type */\nint f(int x)\n{\n" + body * 99 + "}\n",
            src__base__e_c="struct x {\n" + body * 99 + "};\nint t[] = {\n" + body * 99 + "};\n")
        self.assertEqual(lines(check.rule_functions, sample),
                         [("src/base/b.c", 3), ("src/base/c.c", 1)])

    def test_columns_and_tabs(self):
        sample = tree(src__base__a_c="x" * 100 + "\n" + "é" * 100 + "\n",
                      src__base__b_c="x" * 101 + "\n\tint x;\n", tests__x__c_py="\tx\n")
        self.assertEqual(lines(check.rule_columns, sample),
                         [("src/base/b.c", 1), ("src/base/b.c", 2)])

    def test_unfinished(self):
        word = "TO" + "DO"
        sample = tree(a_md="mkstemp(XXXXXX), SET XX\n", b_md=f"\n{word}: later\n")
        self.assertEqual(lines(check.rule_unfinished, sample), [("b.md", 2)])


class CompilingRules(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def load(self, *sources):
        build = self.root / "build"
        (build / "src").mkdir(parents=True)
        entries = ", ".join(
            '{"directory": "%s", "file": "%s", "command": "gcc -fPIC -flto -o x.o -c %s"}'
            % (build, self.root / s, self.root / s) for s in sources)
        (build / "compile_commands.json").write_text(f"[{entries}]")
        return check.load(self.root, build)

    def test_headers(self):
        guard = "#ifndef A\n#define A\n#include <stddef.h>\nsize_t a(void);\n#endif\n"
        self.write("include/splitring/base/a.h", guard)
        self.write("include/splitring/base/b.h", '\nsize_t b(void);\n')
        self.write("include/splitring/base/c.h", 'enum c { C };\n')
        found = lines(check.rule_headers, self.load())
        self.assertEqual(found, [("include/splitring/base/b.h", 2),
                                 ("include/splitring/base/c.h", 1)])

    def test_globals(self):
        self.write("src/data/a.c", "static const char *const names[] = {\"a\", \"b\"};\n"
                                   "const char *name(int i) { return names[i]; }\n")
        self.write("src/data/b.c", "\nint count;\n"
                                   "int next(void)\n{\n    static int last;\n"
                                   "    return ++last;\n}\n"
                                   "_Thread_local int mine;\n")
        self.write("src/io/c.c", "int engine;\n")
        found = lines(check.rule_globals, self.load("src/data/a.c", "src/data/b.c", "src/io/c.c"))
        self.assertEqual(sorted(found),
                         [("src/data/b.c", 2), ("src/data/b.c", 5), ("src/data/b.c", 8)])

    def test_symbols(self):
        source = "#include <stdlib.h>\nvoid *f(void) { return malloc(3); }\n"
        self.write("src/base/mem.c", source)
        self.write("src/data/a.c", source)
        self.write("src/data/b.c", "#include <time.h>\n\nlong f(void) { return time(0); }\n")
        self.write("src/data/c.c", "#include <string.h>\n"
                                   "unsigned long f(const char *s) { return strlen(s); }\n")
        names = ("src/base/mem.c", "src/data/a.c", "src/data/b.c", "src/data/c.c")
        self.assertEqual(lines(check.rule_symbols, self.load(*names)),
                         [("src/data/a.c", 2), ("src/data/b.c", 3)])


class Outcomes(unittest.TestCase):
    def numbers(self, text, code, **more):
        out = outcome.read(text, code, **more)
        return out.passed, out.failed, out.skipped

    def test_criterion(self):
        line = "\x1b[0;34m[====]\x1b[0m Synthesis: Tested: %d | Passing: %d | Failing: %d | "
        line += "Crashing: %d \n"
        self.assertEqual(self.numbers(line % (5, 5, 0, 0), 0), (5, 0, 0))
        self.assertEqual(self.numbers(line % (3, 1, 2, 1), 1), (1, 2, 0))
        self.assertEqual(self.numbers(line % (5, 5, 0, 0), 1), (5, 1, 0))
        self.assertEqual(self.numbers(line % (0, 0, 0, 0), 0), (0, 1, 0))

    def test_criterion_that_only_leaks(self):
        text = "[====] Synthesis: Tested: 2 | Passing: 2 | Failing: 0 | Crashing: 0\n"
        text += "==7==ERROR: LeakSanitizer: detected memory leaks\n"
        self.assertEqual(self.numbers(text, 0), (2, 1, 0))

    def test_unittest(self):
        self.assertEqual(self.numbers("Ran 4 tests in 0.1s\n\nOK\n", 0), (4, 0, 0))
        text = "FAIL: test_a (x.Y)\nRan 9 tests in 1s\n\n" \
               "FAILED (failures=1, errors=2, skipped=3, unexpected successes=1)\n"
        self.assertEqual(self.numbers(text, 1), (2, 4, 3))
        self.assertEqual(outcome.read(text, 1).reasons, ["test_a (x.Y)"])
        self.assertEqual(self.numbers("Ran 0 tests in 0s\n\nOK (skipped=1)\n", 0), (0, 0, 1))
        self.assertEqual(self.numbers("Ran 0 tests in 0s\n\nOK\n", 0), (0, 1, 0))
        self.assertEqual(self.numbers("Ran 2 tests in 0s\n\nOK\n", -11), (2, 1, 0))

    def test_plain(self):
        self.assertEqual(self.numbers("hello\n", 0), (1, 0, 0))
        self.assertEqual(self.numbers("hello\n", -6), (0, 1, 0))
        self.assertEqual(self.numbers("hello\n", 77), (0, 0, 1))
        self.assertEqual(self.numbers("3 passed, 0 failed\n7 passed, 2 failed\n", 1), (7, 2, 0))
        self.assertEqual(self.numbers("7 passed, 0 failed, 1 skipped\n", 1), (7, 1, 1))

    def test_time_limit(self):
        self.assertEqual(self.numbers("7 passed, 0 failed\n", 0, limit=5), (0, 1, 0))

    def test_servers_logs(self):
        good = "Ran 1 test in 0s\n\nOK\n"
        self.assertEqual(self.numbers(good, 0, logs="ERR user script runtime error: x\n"),
                         (1, 0, 0))
        for bad in ("src/a.c:3:7: runtime error: shift\n",
                    "==1==ERROR: AddressSanitizer: heap-use-after-free\n",
                    "WARNING: ThreadSanitizer: data race\n",
                    "../src/a.c:9: check failed: x > 0\n"):
            self.assertEqual(self.numbers(good, 0, logs=bad), (1, 1, 0), bad)


class Matrix(unittest.TestCase):
    def test_which_files_hold_tests(self):
        self.assertTrue(run_tests.holds_tests("class A(B):\n    def test_x(self): pass\n"))
        self.assertFalse(run_tests.holds_tests('"""\n    def test_x(self): pass\n"""\n'))
        self.assertFalse(run_tests.holds_tests("def test_x(): pass\n"))

    def test_words(self):
        self.assertEqual(run_tests.matrix_words("import x\n# matrix: once, alone\n"),
                         {"once", "alone"})
        self.assertEqual(run_tests.matrix_words("# matrix: tsan\n"), {"tsan"})
        self.assertEqual(run_tests.matrix_words("x = '# matrix: once'\n"), set())
        with self.assertRaises(ValueError):
            run_tests.matrix_words("# matrix: twice\n")


if __name__ == "__main__":
    unittest.main()
