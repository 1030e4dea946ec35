"""What `runq add` and `runq hook` take. Apart from both, which run without it where no option is given."""

from __future__ import annotations

from queue_core.cli.options import JSON, Option, Verb
from queue_core.model import BACKOFFS, PRIORITIES

_INSTEAD = (
    Option(name="handler", metavar="NAME", help="instead of a command: a function that a program has declared"),
    Option(name="arguments", metavar="JSON", help="what the handler is called with: an object"),
)
_FILE = Option(name="file", metavar="FILE|-", help="the jobs of a file: one JSON object, or JSON lines; all or none")
_COMMON = (
    Option(name="queue", metavar="Q", help="the queue (default: default)"),
    Option(name="priority", metavar="P", choices=PRIORITIES, help="critical, high, normal (default) or low"),
    Option(name="sequential", help="run alone: nothing of its queue beside it, order kept"),
    Option(name="after", metavar="ID", many=True, help="only after this job has succeeded"),
    Option(name="after-any", metavar="ID", many=True, help="only after this job has ended, however"),
    Option(name="after-failure", metavar="ID", many=True, help="only after this job has failed for good"),
    Option(name="delay", metavar="SPAN", kind="span", least=0, help="not before so long from now: 90 (s), 15m, 7d"),
    Option(name="at", metavar="TIME", help="not before this time, such as 2026-11-22T18:00"),
    Option(name="timeout", metavar="SPAN", kind="span", least=0.001, help="end it after so long: 90 (s), 15m, 2h"),
    Option(name="retry", metavar="PRESET", help="how it is retried: default, fast, slow, none, or one of your own"),
    Option(name="retries", metavar="N", kind="int", least=0, help="run a failed command again so often (default 3)"),
    Option(
        name="backoff",
        metavar="KIND",
        choices=BACKOFFS,
        help="how the waits grow: exponential (default), linear, fibonacci or immediate",
    ),
    Option(name="backoff-base", metavar="SPAN", kind="span", least=0, help="the first wait (default 10 s)"),
    Option(name="backoff-cap", metavar="SPAN", kind="span", least=0, help="the longest wait (default 1h)"),
    Option(name="unique", metavar="KEY", help="while a job with this key is live, return that one instead"),
    Option(name="lock", metavar="NAME[=CAPACITY]", many=True, help="a lock it needs while it runs"),
    Option(name="cwd", metavar="DIR", help="the folder it runs in (default: this one)"),
    Option(name="env", metavar="K=V", many=True, help="set a variable for it"),
    Option(name="pass-env", metavar="NAME", many=True, help="pass a variable of this environment on to it"),
    Option(name="stdin", metavar="FILE|-", help="what it reads (default: nothing)"),
    Option(name="name", metavar="TEXT", help="what people call it"),
    Option(name="meta", metavar="K=V", many=True, help="a note of your own, to filter by"),
    Option(
        name="on-dead", metavar="JSON-ARGV", many=True, help="take over when it failed for good, in turn; [] for none"
    ),
    Option(name="escalate-after", metavar="N", kind="int", least=1, help="take over after N failures already"),
    Option(name="silent", help="print nothing"),
    JSON,
)
JOB_OPTIONS = (*_INSTEAD, *_COMMON)
VERBS = {
    "add": Verb(
        name="add",
        summary="Queue a command. Prints the job's id; when it has, the job survives kill -9 and power loss.",
        options=(*_INSTEAD, _FILE, *_COMMON),
        usage=(
            "[options] -- PROGRAM [ARG...]",
            "--handler NAME [--arguments JSON] [options]",
            "--file FILE|- [--silent] [--json]",
        ),
        command=True,
        example="runq add --priority high --retries 1 -- make test\n"
        "runq add --after 7 --cwd ~/site -- ./deploy.sh\n"
        "runq add --file jobs.jsonl",
    ),
    "hook": Verb(
        name="hook",
        summary="Queue a command from a client's hook: its JSON on stdin fills {placeholders}. Silent, done in time. "
        "Without a template it queues what each [[capture]] in config.toml says for the event, if any does.",
        options=JOB_OPTIONS,
        command=True,
        usage=("[options] -- TEMPLATE...", "[--silent] [--json]"),
        more="{session_id}, {tool_input.file_path}: what the hook's JSON says there, always as one argument. "
        "--stdin - hands the JSON itself to the command.",
        example="runq hook --queue capture -- my-notes capture --session {session_id}\nrunq hook",
    ),
}
