"""Runs test modules of CPython's, or single tests of them: one line for each, its id and outcome.

An argument -CLASS leaves out the tests of that class.
"""
import sys
import unittest


class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.lines = {}

    def note(self, test, outcome):
        # A subtest's failure counts for its test; the worst outcome stands.
        self.lines.setdefault(test.id(), outcome)

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        self.note(test, "skipped")

    def addExpectedFailure(self, test, err):
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.note(test, "unexpected success")

    def addFailure(self, test, err):
        self.note(test, "failed: %s: %s" % (err[0].__name__, err[1]))

    def addError(self, test, err):
        self.note(test, "failed: %s: %s" % (err[0].__name__, err[1]))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "failed: %s: %s" % (err[0].__name__, err[1]))


def single(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from single(test)
        else:
            yield test


left_out = {word[1:] for word in sys.argv[1:] if word.startswith("-")}
names = [word for word in sys.argv[1:] if not word.startswith("-")]
found = single(unittest.defaultTestLoader.loadTestsFromNames(names))
outcomes = Outcomes()
unittest.TestSuite(test for test in found if type(test).__name__ not in left_out).run(outcomes)
for name, outcome in sorted(outcomes.lines.items()):
    print(name, outcome.splitlines()[0], sep="\t")
