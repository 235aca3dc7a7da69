"""What one test program said, in numbers: test cases, not programs.

Three kinds of programs are read: Criterion's (its last line, "Synthesis: Tested: …"), python's
unittest (its last lines, "Ran N tests", "OK" or "FAILED (…)"), and plain ones, which count as one
case by their exit code unless they print "N passed, N failed" themselves. A sanitizer's report or
a failed check() of a server counts as a failure whatever the exit code was: Criterion, for one,
exits 0 when only LeakSanitizer complains.
"""

import re
from dataclasses import dataclass, field

EXIT_SKIPPED = 77  # the convention of automake and meson

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
CRITERION = re.compile(
    r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
CRITERION_FAILED = re.compile(r"^\[FAIL\] (\S+?):(?: .*)?$", re.M)
UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)
UNITTEST_VERDICT = re.compile(r"^(OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$", re.M)
UNITTEST_FAILED = re.compile(r"^(?:FAIL|ERROR|UNEXPECTED SUCCESS): (.+)$", re.M)
PLAIN = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
SANITIZER = re.compile(
    r"ERROR: (?:Leak|Address|Thread|UndefinedBehavior)Sanitizer"
    r"|WARNING: ThreadSanitizer"
    r"|(?::\d+:\d+|<unknown>): runtime error: ")
CHECK_FAILED = re.compile(r":\d+: check failed: ")


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list = field(default_factory=list)  # one line per failure, or what there is to say

    def fail(self, reason):
        self.failed += 1
        self.reasons.append(reason)


def exit_text(code):
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"


def of_criterion(match, text, code):
    tested, passing = int(match.group(1)), int(match.group(2))
    out = Outcome(passed=passing, failed=tested - passing)
    out.reasons = CRITERION_FAILED.findall(text)
    if out.failed == 0 and code != 0:
        out.fail(exit_text(code))
    elif tested == 0:
        out.fail("no test ran")
    return out


def of_unittest(ran, verdict, text, code):
    numbers = dict(re.findall(r"([a-z ]+?)=(\d+)", verdict.group(2) or ""))
    numbers = {key.strip(): int(value) for key, value in numbers.items()}
    out = Outcome()
    out.skipped = numbers.get("skipped", 0)
    out.failed = sum(numbers.get(k, 0) for k in ("failures", "errors", "unexpected successes"))
    out.passed = max(0, int(ran.group(1)) - out.failed - out.skipped)
    out.reasons = UNITTEST_FAILED.findall(text)
    if out.failed == 0 and code != 0:
        out.fail(exit_text(code))
    elif out.passed + out.failed + out.skipped == 0:
        out.fail("no test ran")
    return out


def of_plain(text, code):
    last = None
    for last in PLAIN.finditer(text):
        pass
    if last:
        out = Outcome(int(last.group(1)), int(last.group(2)), int(last.group(3) or 0))
        if out.failed == 0 and code != 0:
            out.fail(exit_text(code))
        return out
    if code == EXIT_SKIPPED:
        return Outcome(skipped=1)
    out = Outcome()
    if code == 0:
        out.passed = 1
    else:
        out.fail(exit_text(code))
    return out


def read(text, code, limit=None, logs=""):
    """The outcome of a program that printed `text` and ended with `code`; `limit` (seconds) is set
    if it had to be killed for taking longer; `logs` is what its servers left in the log folder."""
    text = ANSI.sub("", text)
    criterion = None
    for criterion in CRITERION.finditer(text):
        pass
    ran = UNITTEST_RAN.search(text)
    verdict = UNITTEST_VERDICT.search(text, ran.end()) if ran else None
    if limit is not None:
        out = Outcome()
        out.fail(f"killed: took longer than {limit:.0f} s")
    elif criterion:
        out = of_criterion(criterion, text, code)
    elif ran and verdict:
        out = of_unittest(ran, verdict, text, code)
    else:
        out = of_plain(text, code)
    report = SANITIZER.search(text) or SANITIZER.search(logs)
    if report:
        note_failure(out, "sanitizer: " + line_around(report))
    failed_check = CHECK_FAILED.search(logs)
    if failed_check:
        note_failure(out, "server: " + line_around(failed_check))
    return out


def note_failure(out, reason):
    """A report beside the program's own count: one failure more only if it counted none."""
    out.failed = max(out.failed, 1)
    out.reasons.append(reason)


def line_around(match):
    text = match.string
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[start:end if end >= 0 else len(text)].strip()[:200]
