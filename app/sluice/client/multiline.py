"""Keeps the lines of a traceback together, and finds the parts that an error report has.

Knows what Python, Java, .NET, JavaScript, Go, Ruby, PHP, Perl and Rust print, with the log line before it that says what failed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

Mode = Literal["", "pattern", "python", "frames", "go", "node", "rust"]

SEVERE = re.compile(
    r"(?i)\b(?:error|exception|critical|fatal|severe|panic|warn|warning|fail\w*|crash\w*|traceback|unhandled|uncaught)\b"
)
# A syntax error has no first line.
PYTHON = re.compile(r'(?:\s*\+ Exception Group )?Traceback \(most recent call last\):\s*$|  File ".+", line \d+$')
# loguru marks the place where the error was caught.
MARKED_FILE = re.compile(r'> (?=File ")')
CHAINED = re.compile(r"(?:During handling of the above exception|The above exception was the direct cause)")
THREAD = re.compile(r'Exception in thread ".*" (?P<error>(?P<type>[\w.$]+).*)')
EXCEPTION = re.compile(
    r"(?:^|(?<=\s))(?P<error>(?P<type>(?:[\w$]+[.:]+)*[A-Z]?[\w$]*(?:Exception|Error|Throwable|Failure|Interrupt|Exit)\b)"
    r"(?: \[\w+\])?(?::.*|\s*)$)"
)
# at f (x.js:1:2), at a.b.C.f(C.java:1), at N.C.f() in x.cs:line 1, and what belongs to such frames.
AT = re.compile(r"\s+at (?:async |new )?(?P<where>[^\s(]+).*(?:\(.*\)(?: ~?\[.*\])?|:\d+(?::\d+)?|line \d+|<anonymous>)\s*$")
RUBY_FRAME = re.compile(r"(?:\s+from )?\S+\.rb:\d+:in [`'](?P<where>[^']+)'")
RUBY = re.compile(r"\S+:\d+:in [`'](?P<where>[^']+)': (?P<error>.*\((?P<type>[A-Z][\w:]*)\))\s*$")
PERL_FRAME = re.compile(r"\s+(?P<where>\S+)\(.*\) called at \S+ line \d+")
RUBY_LOGGED = re.compile(r"(?:-- [^:]*: )(?P<error>.*\((?P<type>[A-Z][\w:]*)\))\s*$")
INNER = re.compile(r"\s+---> ")
# An exception of one's own, without the usual ending of its name.
OWN = re.compile(r"(?:^|Uncaught |Caused by: )(?P<error>(?P<type>(?:[\w$]+[.:]+)*[A-Z][\w$]*): .*)")
PHP = re.compile(r"(?:PHP )?Fatal error: +Uncaught (?P<error>(?P<type>[\w\\]+): .*)")
BELONGS = re.compile(
    r"\s+\.\.\. \d+ (?:more|common frames omitted)|\s*(?:Caused by|Suppressed): |\s+--- End of |--- End of |Stack trace:$|#\d+ |"
    r"  thrown in |\s+\[cause\]: |\}$|Node\.js v\d"
)
NODE = re.compile(r"(?:node:|file:///|/|[A-Za-z]:\\)\S*:\d+$")
GO = re.compile(r"(?:panic: |fatal error: |unexpected fault address |goroutine \d+ (?:gp=\S+ .*)?\[|SIG[A-Z]+: )")
GO_ERROR = re.compile(r"(?:panic: |http: panic |fatal error: |unexpected fault address |SIG[A-Z]+: ).*")
GO_HTTP = re.compile(r"http: panic serving ")
GO_BELONGS = re.compile(
    r"goroutine \d+ |\t|created by |exit status \d|\[signal |\[recovered|panic: |r[a-z0-9]+ +0x|[\w./*()\[\]{}·-]+\(.*\)$|\.\.\."
)
RUST = re.compile(r"thread '.*' (?:\(\d+\) )?panicked at (?P<where>\S+?):?$")
RUST_BELONGS = re.compile(r"note: |stack backtrace:|\s+\d+: |\s+at ")
# java.util.logging writes two lines for one entry.
JUL = re.compile(r"[A-Z][a-z]{2} \d{1,2}, \d{4} \d.* [AP]M \S+")
JUL_LEVEL = re.compile(r"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ")


def unnamed(pattern: re.Pattern[str]) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", pattern.pattern)


FRAME = re.compile("|".join(map(unnamed, (AT, RUBY_FRAME, PERL_FRAME))))
# PostgreSQL's csvlog: what is quoted may take several lines.
CSV = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \w+,")
# What a first line looks like, by the mode that it begins.
BEGINS = re.compile(
    f"(?P<python>{PYTHON.pattern})|(?P<go>{GO.pattern}|.*?{GO_HTTP.pattern})|(?P<rust>{unnamed(RUST)})"
    f"|(?P<frames>{unnamed(RUBY)}|.*?{unnamed(PHP)})|(?P<node>{NODE.pattern})"
)
# No line of a traceback is recognised by more than its first so many characters: some patterns take their square in time.
MAX_MATCHED = 2000
# A group is closed before it gets larger than an event may be.
MAX_GROUP = 200_000
NODE_PREAMBLE = 12


class Error(NamedTuple):
    """`error`: the line that says what happened; `type`: of the exception; `endpoint`: the function where."""

    error: str
    type: str
    endpoint: str


class Line(NamedTuple):
    """A line of the input. `text` is without what a container runtime or syslog put before it, `raw` is what is stored of it.

    `time` (RFC 3339) is the line's; `timed`: `text` has one itself, so it begins an event. `stream`: stdout or stderr.
    `record`: the JSON that it came in.
    """

    number: int
    text: str
    timed: bool = False
    time: str | None = None
    raw: str = ""
    stream: str | None = None
    record: dict[str, Any] | None = None


@dataclass
class Group:
    """Lines that are one event; `mode` says what they look like, "" being a single line. `quoted`: a quote of CSV is open.

    `spaced`: the traceback has blank lines in it, as loguru writes them.
    """

    lines: list[Line] = field(default_factory=list)
    mode: Mode = ""
    size: int = 0
    done: bool = False
    quoted: bool = False
    spaced: bool = False
    blanks: list[Line] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


class Grouper:
    """Takes the lines of one stream and gives groups: of tracebacks, or by the `pattern` of an event's first line."""

    def __init__(self, pattern: re.Pattern[str] | None = None, *, off: bool = False) -> None:
        self._pattern = pattern
        self._off = off
        self._group: Group | None = None

    @property
    def open(self) -> bool:
        """Whether a traceback has begun that the next line may belong to."""
        return self._group is not None and self._group.mode != ""

    def feed(self, line: Line) -> Iterator[Group | Line]:
        """The groups that end before `line`, and the blank lines that belong to none."""
        if self._group is not None and self._group.size + len(line.text) < MAX_GROUP:
            if not line.text.strip() and self._may_hold_blanks(self._group):
                self._group.blanks.append(line)
                return
            if self._belongs(self._group, line):
                self._group.lines += [*self._group.blanks, line]
                self._group.quoted &= line.text.count('"') % 2 == 0
                self._group.size += len(line.text)
                self._group.blanks = []
                return
        yield from self.flush()
        if not line.text.strip():
            yield line
        else:
            quoted = CSV.match(line.text) is not None and line.text.count('"') % 2 == 1
            self._group = Group([line], self._begun(line.text[:MAX_MATCHED]), len(line.text), quoted=quoted)
            if self._off:
                yield from self.flush()

    def flush(self) -> Iterator[Group | Line]:
        group, self._group = self._group, None
        if group is not None:
            yield group
            yield from group.blanks

    def drop(self) -> int:
        """Forget what has begun; returns how many lines that were."""
        group, self._group = self._group, None
        return len(group.lines) if group is not None else 0

    def _may_hold_blanks(self, group: Group) -> bool:
        # Spring has an empty line between what failed and the traceback.
        return (group.quoted or group.mode != "" or SEVERE.search(group.lines[-1].text[:MAX_MATCHED]) is not None) and len(
            group.blanks
        ) < 3

    def _begun(self, text: str) -> Mode:
        if self._pattern is not None:
            return "pattern"
        match = BEGINS.match(text)
        return cast(Mode, match.lastgroup) if match else ""

    def _belongs(self, group: Group, line: Line) -> bool:
        """Whether `line` goes on with `group`, whose mode may change by it."""
        text = line.text[:MAX_MATCHED]
        if self._pattern is not None:
            return self._pattern.search(line.text) is None
        if self._off or (line.timed and not text[0].isspace()):
            return False
        match group.mode:
            case "":
                return self._goes_on(group, text)
            case "python":
                return self._in_python(group, text)
            case "go":
                return GO_BELONGS.match(text) is not None or GO.match(text) is not None
            case "rust":
                return len(group.lines) == 1 or RUST_BELONGS.match(text) is not None
            case "node" if not AT.match(text):
                return len(group.lines) < NODE_PREAMBLE
        group.mode = "frames"
        # Indented: the dump of a JavaScript error's fields, a message of several lines.
        return bool(FRAME.match(text) or BELONGS.match(text) or (text[0].isspace() and not group.blanks))

    def _goes_on(self, group: Group, text: str) -> bool:
        """Whether `text` makes the single line before it the beginning of a traceback."""
        if group.quoted:
            return True
        before = group.lines[-1].text[:MAX_MATCHED]
        # Ruby's frames in a log are not indented: they need a line before them that says that something failed.
        if (FRAME.match(text) or INNER.match(text)) and (text[0].isspace() or SEVERE.search(before)):
            group.mode = "frames"
            return True
        if JUL_LEVEL.match(text) and JUL.match(before):
            return True
        # PostgreSQL indents what a statement has beside its first line.
        if text.startswith("\t") and group.lines[0].time and not group.blanks:
            return True
        begun = self._begun(text)
        thrown = THREAD.match(text) or (EXCEPTION.match(text) and not EXCEPTION.search(before))
        if (begun or thrown) and SEVERE.search(before):
            group.mode = begun or "frames"
            return True
        return False

    def _in_python(self, group: Group, text: str) -> bool:
        """Frames are indented; the first line that is not says what happened; then the next exception of the chain may follow."""
        before = group.lines[-1].text
        if CHAINED.match(text) or (CHAINED.match(before) and PYTHON.match(text)):
            group.done = False
            return True
        group.spaced |= bool(group.blanks and PYTHON.match(before))
        if group.spaced and not group.done:
            group.done = not text[0].isspace() and not MARKED_FILE.match(text)
            return True
        if group.blanks or PYTHON.match(text):
            return False
        if text[0].isspace():
            return True
        done, group.done = group.done, True
        return not done


def error_in(group: Group) -> Error | None:
    """What an error report says of `group`; None when it is no traceback."""
    if group.mode == "" or len(group.lines) < 2:
        return None
    if group.mode == "pattern":
        return error_in_text(group.text)
    lines = [line.text[:MAX_MATCHED] for line in group.lines]
    text = "\n".join(lines)
    error, kind = said(group, lines)
    if group.mode == "python":
        where = re.findall(r'File ".*", line \d+, in (\S+)', text)[-1:]
    elif group.mode == "go":
        where = re.findall(r"(?m)^(?!goroutine|panic|created)([\w./*()-]+)\(.*\)$", text)
    else:
        frames = (AT.match(line) or RUBY_FRAME.match(line) or PERL_FRAME.match(line) or RUST.match(line) for line in lines)
        where = [match["where"] for match in frames if match]
    return Error(error.strip()[:2000], kind[:255], (where[0] if where else "")[:255])


def said(group: Group, lines: list[str]) -> tuple[str, str]:
    """The line that says what happened, and the type of the exception."""
    if group.mode == "python":
        lines = [MARKED_FILE.sub("  ", line) for line in lines if line.strip()]
        ends = [line for before, line in itertools.pairwise(lines) if ends_python(before, line)]
        # Of a chain the last exception counts, of a group the group.
        text = (ends[0 if "Group" in lines[0] else -1] if ends else lines[-1]).strip(" |+")
        return text, text.partition(":")[0].strip()
    if group.mode == "go":
        text = next((line for line in lines if GO_ERROR.search(line)), lines[0])
        error = match[0] if (match := GO_ERROR.search(text)) else text
        return error, "panic" if "panic" in error else error.partition(":")[0]
    if group.mode == "rust":
        return lines[1], "panic"
    first_frame = next((number for number, line in enumerate(lines) if number and FRAME.match(line)), len(lines))
    head = [line for line in lines[:first_frame] if not INNER.match(line)]
    for pattern in (THREAD, EXCEPTION, RUBY, RUBY_LOGGED, PHP, OWN):
        if match := next(filter(None, (pattern.search(line) for line in reversed(head))), None):
            return match["error"], match["type"]
    return head[-1], "error"


def ends_python(before: str, line: str) -> bool:
    """A line that is not indented, after one that is: what Python says after the frames. In a group it is behind a bar."""
    bare, bare_before = (re.sub(r"^[\s+|-]*\| ", "", text) for text in (line, before))
    return bare_before[:1].isspace() and bool(bare.strip()) and not bare[0].isspace() and not CHAINED.match(bare)


def error_in_text(text: str) -> Error | None:
    """As error_in, of a text that may hold a whole traceback."""
    grouper = Grouper()
    found = [
        each for number, line in enumerate(text.split("\n")) for each in grouper.feed(Line(number, line))
    ] + list(grouper.flush())  # fmt: skip
    return next((error for each in found if isinstance(each, Group) and (error := error_in(each))), None)
