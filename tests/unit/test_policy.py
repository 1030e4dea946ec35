"""Policy: what an agent may run, argument for argument, and what no pattern gets past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queue_core.known_programs import NEVER_BY_WILDCARD
from queue_core.policy import Decision, Reach, Request, Rule, decide, inside, too_open, why_not, without_effect

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "/project"


def resolve(name: str) -> str | None:
    """Every name is a program of one folder, in which nothing is a link to anything."""
    return name if name.startswith("/") else "/programs/" + name


def judge(
    argv: list[str], *rules: Rule, roots: tuple[str, ...] = (ROOT,), agents: str = "ask", **more: Any
) -> Decision:
    fields: dict[str, Any] = {"caller": "agent", "cwd": ROOT, "program": resolve(argv[0]), **more}
    return decide(Request(argv=tuple(argv), **fields), rules, roots=roots, agents=agents, resolve=resolve)


def verdict(command: str, *patterns: str, **more: Any) -> str:
    rules = [Rule(argv=tuple(pattern.split())) for pattern in patterns]
    return judge(command.split(), *rules, **more).verdict


class TestCallers:
    @pytest.mark.parametrize("caller", ["person", "hook"])
    def test_persons_and_hooks_may_queue_anything_anywhere(self, caller: str) -> None:
        assert judge(["rm", "-rf", "/"], caller=caller, cwd="/", roots=()).verdict == "allowed"

    @pytest.mark.parametrize("caller", ["person", "hook"])
    def test_a_rule_that_denies_is_about_agents(self, caller: str) -> None:
        assert judge(["rm", "x"], Rule(argv=("rm", "..."), deny=True), caller=caller).verdict == "allowed"

    def test_an_agents_command_that_no_rule_covers_waits_for_a_person(self) -> None:
        decision = judge(["make"])
        assert (decision.verdict, decision.reason) == ("ask", "no rule covers this command")


class TestPatterns:
    @pytest.mark.parametrize(
        ("command", "pattern", "expected"),
        [
            ("git status", "git status", "allowed"),
            ("git status -s", "git status", "ask"),
            ("git", "git status", "ask"),
            ("git Status", "git status", "ask"),
            ("git status", "git", "ask"),
            ("git", "git", "allowed"),
            ("pytest", "pytest ...", "allowed"),
            ("pytest -x a b", "pytest ...", "allowed"),
            ("pytest -x", "pytest -q ...", "ask"),
            ("head -n 5", "head -n <int>", "allowed"),
            ("head -n -5", "head -n <int>", "ask"),
            ("head -n 5x", "head -n <int>", "ask"),
            ("head -n ٣", "head -n <int>", "ask"),
            ("notes switch main", "notes switch <word>", "allowed"),
            ("notes switch v1.2_x", "notes switch <word>", "allowed"),
            ("notes switch -c", "notes switch <word>", "ask"),
            ("notes switch --detach", "notes switch <word>", "ask"),
            ("notes switch a/b", "notes switch <word>", "ask"),
            ("notes switch a;b", "notes switch <word>", "ask"),
            ("notes switch $x", "notes switch <word>", "ask"),
            ("cat src/a.py", "cat <relpath>", "allowed"),
            ("cat a.py b.py", "cat <relpath>", "ask"),
        ],
    )
    def test_a_pattern_fits_the_whole_argv_or_not_at_all(self, command: str, pattern: str, expected: str) -> None:
        assert verdict(command, pattern) == expected

    def test_any_of_several_rules_may_cover_it(self) -> None:
        assert verdict("git log", "git status", "git log") == "allowed"

    def test_the_decision_names_the_rule(self) -> None:
        decision = judge(["git", "log"], Rule(argv=("git", "log")))
        assert decision.rule == Rule(argv=("git", "log"))
        assert "git log" in decision.reason

    @pytest.mark.parametrize("value", ["", " ", "a b", "a\nb", "\n"])
    def test_odd_values_are_no_words(self, value: str) -> None:
        assert judge(["git", "switch", value], Rule(argv=("git", "switch", "<word>"))).verdict == "ask"

    @pytest.mark.parametrize("value", ["..", ".", "+main", ":main", "@file", "-", "--"])
    def test_what_programs_take_for_more_than_a_word_is_none(self, value: str) -> None:
        """`..` is a folder outside, `+ref` forces, `:ref` deletes, `@file` reads arguments from a file."""
        assert verdict(f"git push origin {value}", "git push origin <word>") == "ask"


class TestPrograms:
    def test_a_rule_means_the_program_on_the_fixed_path_and_no_other_of_its_name(self) -> None:
        assert judge(["git", "status"], Rule(argv=("git", "status")), program="/project/bin/git").verdict == "ask"

    def test_an_absolute_path_to_the_same_program_is_the_same(self) -> None:
        assert verdict("/programs/git status", "git status") == "allowed"

    def test_a_relative_path_is_what_it_resolves_to(self) -> None:
        assert judge(["./git", "status"], Rule(argv=("git", "status")), program="/project/git").verdict == "ask"

    def test_a_rule_can_name_the_program_by_its_real_path(self) -> None:
        rule = Rule(argv=("tool", "..."), program="/opt/tool/bin/tool")
        assert judge(["tool", "x"], rule, program="/opt/tool/bin/tool").verdict == "allowed"
        assert judge(["tool", "x"], rule, program="/programs/tool").verdict == "ask"

    def test_a_program_of_many_names_is_a_different_one_by_each(self) -> None:
        rule = Rule(argv=("ls",), program="/programs/multi")
        assert judge(["ls"], rule, program="/programs/multi").verdict == "allowed"
        assert judge(["rm"], rule, program="/programs/multi").verdict == "ask"

    def test_a_rule_for_a_program_that_is_not_there_covers_nothing(self) -> None:
        request = Request(caller="agent", argv=("git",), program="/programs/git", cwd=ROOT)
        found = decide(request, [Rule(argv=("git",))], roots=[ROOT], agents="ask", resolve=lambda name: None)
        assert found.verdict == "ask"


class TestRelativePaths:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        (tmp_path / "outside").mkdir()
        project = tmp_path / "project"
        (project / "src").mkdir(parents=True)
        (project / "out").symlink_to(tmp_path / "outside")
        (project / "in").symlink_to(project / "src")
        (project / "loop").symlink_to(project / "loop")
        return project.resolve()

    def path_verdict(self, project: Path, value: str, cwd: str = "") -> str:
        rule = Rule(argv=("cat", "<relpath>"))
        return judge(["cat", value], rule, cwd=str(project / cwd), roots=(str(project),)).verdict

    @pytest.mark.parametrize("value", ["a.py", "./a.py", "src/../a.py", "in/a.py", "not there/yet", ".", "src", "ä"])
    def test_paths_inside_are_fine(self, project: Path, value: str) -> None:
        assert self.path_verdict(project, value) == "allowed"

    @pytest.mark.parametrize(
        "value",
        ["", "-x", "--", "/etc/passwd", "~/x", "../x", "src/../../x", "out/x", "out", "out/../x", "in/../../x", "a\nb"],
    )
    def test_paths_outside_and_options_are_not(self, project: Path, value: str) -> None:
        assert self.path_verdict(project, value) == "ask"

    @pytest.mark.parametrize(
        "value", ["host:path", "user@host:path", "https://evil/x", "ext::sh -c x", ":(top)x", "file::a"]
    )
    def test_what_git_and_others_take_for_an_address_is_no_path(self, project: Path, value: str) -> None:
        assert self.path_verdict(project, value) == "ask"

    def test_an_absolute_path_is_not_relative_even_inside(self, project: Path) -> None:
        assert self.path_verdict(project, str(project / "a.py")) == "ask"

    def test_it_counts_from_the_working_folder(self, project: Path) -> None:
        assert self.path_verdict(project, "../a.py", cwd="src") == "allowed"
        assert self.path_verdict(project, "../../a.py", cwd="src") == "ask"

    def test_a_folder_whose_name_begins_like_the_root_is_outside(self, project: Path) -> None:
        assert self.path_verdict(project, "../project2/x") == "ask"

    @pytest.mark.parametrize(
        ("path", "root", "expected"),
        [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/", "/a", False), ("/a", "/", True)],
    )
    def test_inside_is_about_whole_folders(self, path: str, root: str, expected: bool) -> None:
        assert inside(path, root) == expected


HOSTILE = [
    "git -c alias.x=!sh x",
    "git --exec-path=/tmp status",
    "git grep -Osh x",
    "git fetch --upload-pack=sh origin",
    "git diff --output=/etc/x",
    "find . -exec sh ;",
    "find . -delete",
    "find . -fprintf /etc/x y",
    "tar xf a.tar --to-command=sh",
    "tar cf a.tar --checkpoint=1 --checkpoint-action=exec=sh .",
    "sed 1e id",
    "sed -i s/a/b/e x",
    "awk BEGIN{system(1)}",
    "sort --compress-program=sh a",
    "sort -o /etc/x a",
    "ssh -oProxyCommand=sh host",
    "zip a.zip b -T -TT sh",
    "vim -c :!sh",
    "env sh",
    "timeout 5 sh",
    "xargs sh",
    "nice sh",
    "flock /tmp/x sh",
    "strace sh",
    "setsid sh",
    "bash -c id",
    "sh script",
    "busybox sh",
    "python -c x",
    "python3 -c x",
    "python3.12 -c x",
    "python3.12 -m this",
    "pypy3 -c x",
    "perl -e x",
    "perl5.36.0 -e x",
    "ruby3.1 -e x",
    "node -e x",
    "php8.2 -r x",
    "lua5.4 -e x",
    "gawk-5.1.0 x",
    "rsync -e sh a b",
    "make SHELL=sh",
    "docker run x",
    "curl -K x",
    "sudo id",
    "runq allow x",
]


class TestHostileVectors:
    @pytest.mark.parametrize("command", HOSTILE)
    def test_none_passes_without_a_rule_of_its_own(self, command: str) -> None:
        patterns = ("git status", "git log", "git grep x", "git fetch origin", "git diff", "find .", "sort a", "ls ...")
        assert verdict(command, *patterns) == "ask"

    @pytest.mark.parametrize("command", [one for one in HOSTILE if not one.startswith("git ")])
    def test_programs_that_run_others_are_not_had_by_a_wildcard(self, command: str) -> None:
        program = command.split(maxsplit=1)[0]
        decision = judge(command.split(), Rule(argv=(program, "...")))
        assert decision.verdict == "ask"
        assert "exact rule" in decision.reason

    @pytest.mark.parametrize("command", ["make test", "python3.12 -m pytest", "env X=1 make"])
    def test_but_by_an_exact_rule_they_are(self, command: str) -> None:
        assert verdict(command, command) == "allowed"

    @pytest.mark.parametrize("pattern", ["python -m pytest <relpath>", "python -m pytest ...", "python -m <word> a"])
    def test_any_placeholder_makes_a_wildcard(self, pattern: str) -> None:
        assert verdict("python -m pytest a", pattern) == "ask"

    @pytest.mark.parametrize(("name", "program"), [("tool", "/usr/bin/bash"), ("bash", "/opt/tool")])
    def test_both_the_name_and_what_it_is_a_link_to_count(self, name: str, program: str) -> None:
        request = Request(caller="agent", argv=(name, "x"), program=program, cwd=ROOT)
        assert too_open(Rule(argv=(name, "...")), request)

    @pytest.mark.parametrize("name", ["pytest", "ls", "bashful", "7z", "2to3", "pythonic"])
    def test_other_names_are_not_mistaken_for_them(self, name: str) -> None:
        request = Request(caller="agent", argv=(name, "x"), program=resolve(name) or "", cwd=ROOT)
        assert too_open(Rule(argv=(name, "...")), request) is None

    @pytest.mark.parametrize("name", ["sort", "flock", "strace", "nsenter", "ionice", "rg", "gdb"])
    def test_the_list_knows_the_less_known_ones(self, name: str) -> None:
        assert name in NEVER_BY_WILDCARD


class TestOptionsBehindThreeDots:
    """`...` lets arguments follow, but options only where they are known to be harmless, or the rule says so."""

    @pytest.mark.parametrize(
        ("command", "pattern", "expected"),
        [
            ("pytest -q -x -vv --maxfail=1 -n4 tests", "pytest ...", "allowed"),
            ("pytest -k expression", "pytest ...", "allowed"),
            ("pytest -p evil", "pytest ...", "ask"),
            ("pytest -qp evil", "pytest ...", "ask"),
            ("pytest --pdbcls=a:b", "pytest ...", "ask"),
            ("pytest --max=1", "pytest ...", "ask"),  # an abbreviation is another name
            ("pytest -p no:cacheprovider", "pytest -p no:cacheprovider ...", "allowed"),
            ("ls -la --color=auto x", "ls ...", "allowed"),
            ("grep -rn --include=*.py x src", "grep ...", "allowed"),
            ("ruff check --diff src", "ruff check ...", "allowed"),
            ("ruff check --diff src", "ruff ...", "allowed"),
            ("ruff format --statistics src", "ruff ...", "ask"),
            ("git log --oneline -5 -n 3 --since=monday main", "git log ...", "allowed"),
            ("git diff --output=x", "git diff ...", "ask"),
            ("git status --oneline", "git status ...", "ask"),
            ("go test -run=TestA ./x", "go test ...", "allowed"),
            ("go test -exec ./x", "go test ...", "ask"),
            ("tool --title x", "tool ...", "ask"),
            ("tool -", "tool ...", "ask"),
            ("tool --", "tool ...", "ask"),
            ("tool x y", "tool ...", "allowed"),
        ],
    )
    def test_known_ones_pass_and_others_are_asked_about(self, command: str, pattern: str, expected: str) -> None:
        assert verdict(command, pattern) == expected

    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            ("--title", "allowed"),
            ("--title=x", "allowed"),
            ("-v", "allowed"),
            ("--exec", "ask"),
            ("--post-command=x", "ask"),
            ("--output=x", "ask"),
            ("--CONFIG", "ask"),
            ("--load-plugins", "ask"),
            ("-c", "ask"),
            ("-ofile", "ask"),
        ],
    )
    def test_a_rule_may_let_all_follow_but_those_that_say_that_they_run_or_write(
        self, option: str, expected: str
    ) -> None:
        assert judge(["tool", option], Rule(argv=("tool", "..."), options=True)).verdict == expected

    def test_version_control_has_them_spelled_out_all_the_same(self) -> None:
        rule = Rule(argv=("git", "log", "..."), options=True)
        assert judge(["git", "log", "--no-such-option"], rule).verdict == "ask"

    @pytest.mark.parametrize(
        "value",
        ["/etc/shadow", "../x", "a/../../x", "~", "~root/x", "@file", "https://x", "file:///x", "a=/etc/x", "a:/etc/x",
         "a,/etc/x", "HEAD:../../x", "", "a\nb", "a\x1bb", "a\u202eb", "a\0b", "-f/etc/x", "-f../../x", "--x=/etc/x"],
    )  # fmt: skip
    def test_nothing_that_follows_leads_outside(self, value: str) -> None:
        assert judge(["cat", value], Rule(argv=("cat", "..."))).verdict == "ask"

    @pytest.mark.parametrize("value", ["a", "a/b", "./a", "/project/a", "a::b", "HEAD~1", "a..b", "x=y", "ä", "a b"])
    def test_what_stays_inside_may_follow(self, value: str) -> None:
        assert judge(["cat", value], Rule(argv=("cat", "..."))).verdict == "allowed"

    def test_links_are_followed_wherever_they_are_named(self, tmp_path: Path) -> None:
        project = tmp_path.resolve() / "project"
        project.mkdir()
        (project / "link").symlink_to("/etc")
        for argv in (["cat", "link/x"], ["cat", "a=link"], ["cat", "-flink"], ["cat", "--file=link"], ["cat", "link"]):
            for pattern in (("cat", "..."), ("cat", "<word>"), ("cat", "<relpath>")):
                found = judge(argv, Rule(argv=pattern), cwd=str(project), roots=(str(project),))
                assert found.verdict == "ask", (argv, pattern)

    @pytest.mark.parametrize("value", ["ext::sh", "+main", "x::y"])
    def test_version_control_is_given_no_addresses(self, value: str) -> None:
        assert verdict(f"git log {value}", "git log ...") == "ask"

    def test_a_colon_is_an_address_to_what_fetches_alone(self) -> None:
        assert verdict("git fetch host:path", "git fetch ...") == "ask"
        assert verdict("git show HEAD:a.py", "git show ...") == "allowed"


class TestClosedFolders:
    """runq's own files, where the project holds them."""

    def in_home(self, argv: list[str], **more: Any) -> str:
        fields: dict[str, Any] = {"caller": "agent", "cwd": ROOT, "program": resolve(argv[0]), **more}
        request = Request(argv=tuple(argv), **fields)
        rules = [Rule(argv=("tee", "<relpath>")), Rule(argv=("cp", "..."))]
        closed = ["/project/.runq", "/elsewhere"]
        return decide(request, rules, roots=[ROOT], agents="ask", resolve=resolve, closed=closed).verdict

    def test_no_argument_and_no_working_folder_leads_into_them(self) -> None:
        assert self.in_home(["tee", "x"]) == "allowed"
        assert self.in_home(["tee", ".runq/rules.toml"]) == "ask"
        assert self.in_home(["cp", "a", ".runq/rules.toml"]) == "ask"
        assert self.in_home(["tee", "x"], cwd="/project/.runq") == "denied"

    def test_a_project_within_such_a_folder_is_not_closed(self) -> None:
        request = Request(caller="agent", argv=("tee", "x"), program="/programs/tee", cwd=ROOT)
        rule = Rule(argv=("tee", "<relpath>"))
        assert decide(request, [rule], roots=[ROOT], agents="ask", resolve=resolve, closed=["/"]).verdict == "allowed"


class TestWhyNot:
    @pytest.mark.parametrize(
        ("command", "pattern", "words"),
        [
            ("git push --force", "git push <word>", "argument 2 `--force` is not `<word>`"),
            ("git push", "git push <word>", "argument 2 `<word>` is missing"),
            ("git push a b", "git push <word>", "argument 3 `b` is more than it says"),
            ("git push", "git", "argument 1 `push` is more than it says"),
            ("git push", "hg push", "it is about /programs/hg, not /programs/git"),
        ],
    )
    def test_it_says_where_a_rule_fails(self, command: str, pattern: str, words: str) -> None:
        argv = tuple(command.split())
        request = Request(caller="agent", argv=argv, program=f"/programs/{argv[0]}", cwd=ROOT)
        assert why_not(Rule(argv=tuple(pattern.split())), request, Reach(roots=(ROOT,)), resolve) == words

    def test_the_reason_is_that_of_the_rule_that_says_the_most(self) -> None:
        rules = [Rule(argv=("git", "fetch", "...")), Rule(argv=("git", "..."))]
        assert "--upload-pack" in judge(["git", "fetch", "--upload-pack=x"], *rules).reason


class TestManySubcommands:
    @pytest.mark.parametrize(
        ("command", "pattern", "expected"),
        [
            ("npm run lint", "npm run <word>", "allowed"),
            ("npm run lint", "npm <word> lint", "ask"),
            ("npm exec x", "npm exec <word>", "ask"),
            ("pip install x", "pip install <word>", "ask"),
            ("pip install x", "pip install x", "allowed"),
            ("pip3.11 install x", "pip3.11 install ...", "ask"),
            ("cargo run x", "cargo run ...", "ask"),
            ("go run x", "go run ...", "ask"),
            ("gh alias x", "gh alias ...", "ask"),
            ("gh pr list", "gh pr ...", "allowed"),
        ],
    )
    def test_those_that_run_anything_are_had_by_an_exact_rule(self, command: str, pattern: str, expected: str) -> None:
        assert verdict(command, pattern) == expected


class TestVersionControl:
    @pytest.mark.parametrize(
        ("command", "pattern", "expected"),
        [
            ("git log main", "git log ...", "allowed"),
            ("git log --oneline main", "git log --oneline ...", "allowed"),
            ("git log --output=x", "git log ...", "ask"),
            ("git fetch --upload-pack=touch origin", "git fetch ...", "ask"),
            ("git -c alias.x=!id x", "git ...", "ask"),
            ("git bisect run sh", "git bisect ...", "ask"),
            ("git bisect run sh", "git bisect run sh", "allowed"),
            ("git submodule foreach id", "git submodule ...", "ask"),
            ("git status", "git <word>", "ask"),
            ("git -c alias.x=!id x", "git -c ...", "ask"),
        ],
    )
    def test_its_subcommands_and_options_are_spelled_out(self, command: str, pattern: str, expected: str) -> None:
        assert verdict(command, pattern) == expected


class TestWhatGoesWithIt:
    RULE = Rule(argv=("make", "test"), env=("CI",), stdin=True)

    @pytest.mark.parametrize("more", [{"env": {"LD_PRELOAD": "x"}}, {"env": {"CI": "1", "X": ""}}])
    def test_variables_that_the_rule_does_not_name_have_to_be_asked_about(self, more: dict[str, Any]) -> None:
        decision = judge(["make", "test"], self.RULE, **more)
        assert decision.verdict == "ask"
        assert "variable" in decision.reason

    def test_variables_that_it_names_are_fine(self) -> None:
        assert judge(["make", "test"], self.RULE, env={"CI": "1"}).verdict == "allowed"

    def test_a_value_that_a_rule_names_has_to_be_set(self) -> None:
        """Or what a user has allowed with DRY_RUN=1 would run without."""
        rule = Rule(argv=("make", "x"), env=("CI", "DRY_RUN=1"))
        assert judge(["make", "x"], rule, env={"DRY_RUN": "1"}).verdict == "allowed"
        decision = judge(["make", "x"], rule, env={"CI": "1"})
        assert (decision.verdict, decision.reason) == ("ask", "the rule is for a run with DRY_RUN=1")

    def test_not_more_arguments_than_can_be_looked_at_while_others_wait(self) -> None:
        rule = Rule(argv=("cat", "..."))
        assert judge(["cat", *["a"] * 200], rule).verdict == "allowed"
        assert "more than 200 arguments" in judge(["cat", *["a"] * 201], rule).reason

    @pytest.mark.parametrize(("value", "verdict"), [("fast", "allowed"), ("slow", "ask"), ("", "ask")])
    def test_a_rule_may_name_the_one_value_that_a_variable_may_have(self, value: str, verdict: str) -> None:
        decision = judge(["make", "x"], Rule(argv=("make", "x"), env=("MODE=fast",)), env={"MODE": value})
        assert decision.verdict == verdict
        assert verdict == "allowed" or "MODE be set to that value" in decision.reason

    @pytest.mark.parametrize(
        ("cwd", "verdict"), [("/project/a", "allowed"), ("/project", "ask"), ("/project/ab", "ask")]
    )
    def test_a_rule_may_hold_for_one_folder_alone(self, cwd: str, verdict: str) -> None:
        assert judge(["make", "x"], Rule(argv=("make", "x"), cwd="/project/a"), cwd=cwd).verdict == verdict

    def test_what_the_repository_runs_has_to_be_asked_about_unless_the_rule_trusts_it(self) -> None:
        rule = Rule(argv=("git", "status"))
        runs: dict[str, Any] = {"repository_runs": "core.fsmonitor"}
        assert judge(["git", "status"], rule).verdict == "allowed"
        decision = judge(["git", "status"], rule, **runs)
        assert (decision.verdict, "core.fsmonitor" in decision.reason) == ("ask", True)
        trusting = Rule(argv=("git", "status"), trust_repository=True)
        assert judge(["git", "status"], trusting, **runs).verdict == "allowed"

    def test_input_has_to_be_covered_too(self) -> None:
        assert judge(["make", "test"], self.RULE, stdin=True).verdict == "allowed"
        decision = judge(["make", "test"], Rule(argv=("make", "test")), stdin=True)
        assert (decision.verdict, "input" in decision.reason) == ("ask", True)

    def test_another_rule_may_cover_what_the_first_does_not(self) -> None:
        assert judge(["make", "test"], Rule(argv=("make", "test")), self.RULE, stdin=True).verdict == "allowed"


class TestDenied:
    def test_a_denied_command_is_refused_with_the_users_reason(self) -> None:
        decision = judge(["git", "push", "-f"], Rule(argv=("git", "push", "..."), deny=True, reason="ask me"))
        assert (decision.verdict, decision.reason) == ("denied", "ask me")

    def test_a_denial_beats_every_permission(self) -> None:
        rules = [Rule(argv=("git", "push")), Rule(argv=("git", "push", "..."), deny=True)]
        assert judge(["git", "push"], *rules).verdict == "denied"
        assert judge(["git", "push"], *rules, agents="allow").verdict == "denied"

    @pytest.mark.parametrize("agents", ["ask", "allow"])
    def test_a_folder_outside_the_roots_is_refused(self, agents: str) -> None:
        decision = judge(["make"], Rule(argv=("make",)), cwd="/etc", agents=agents)
        assert decision.verdict == "denied"
        assert "/etc" in decision.reason
        assert ROOT in decision.reason

    def test_without_any_root_everywhere_is_outside(self) -> None:
        assert judge(["make"], Rule(argv=("make",)), roots=()).verdict == "denied"

    def test_only_the_users_word_opens_everything(self) -> None:
        assert judge(["bash", "-c", "x"], agents="allow").verdict == "allowed"


class TestAddresses:
    @pytest.mark.parametrize(
        "word",
        ["nohost.invalid:repo", "evil:repo", "me@evil:repo", "ext::x", "pkg@1.2", "a@b", ":x", "c:x", "@x"],
    )
    @pytest.mark.parametrize("program", ["git ls-remote", "git push", "npm view", "mytool"])
    def test_a_word_is_never_an_address(self, program: str, word: str) -> None:
        assert verdict(f"{program} {word}", f"{program} <word>") == "ask"

    @pytest.mark.parametrize("word", ["origin", "v1.2", "a_b-c", "1,2", "50%", "c++"])
    def test_a_harmless_word_still_is_one(self, word: str) -> None:
        assert verdict(f"mytool {word}", "mytool <word>") == "allowed"

    @pytest.mark.parametrize("word", ["origin", "evil:repo", "me@evil", "../x", "+x"])
    def test_what_a_rule_that_denies_leaves_open_is_wide(self, word: str) -> None:
        for place in ("<word>", "<relpath>"):
            rule = Rule(argv=("git", "push", place), deny=True)
            assert judge(["git", "push", word], rule, agents="allow").verdict == "denied"


class TestSecretPlaces:
    CLOSED = ("/project/.ssh", "/project/.netrc")

    def decided(self, argv: list[str], **more: Any) -> Decision:
        rules = (Rule(argv=(argv[0], "<relpath>")), Rule(argv=(argv[0], "...")))
        fields: dict[str, Any] = {"cwd": ROOT, **more}
        request = Request(caller="agent", argv=tuple(argv), program="/programs/" + argv[0], **fields)
        return decide(request, rules, roots=(ROOT,), agents="ask", resolve=resolve, closed=self.CLOSED)

    @pytest.mark.parametrize("path", [".ssh/id", ".ssh", "a/../.ssh/id", ".netrc", "."])
    def test_they_are_closed_inside_a_root_and_so_is_what_holds_them(self, path: str) -> None:
        assert self.decided(["cat", path]).verdict == "ask"

    @pytest.mark.parametrize(
        "argv", [["grep", "-r", "K"], ["grep", "-rn", "K"], ["grep", "--recursive", "K"], ["ls", "-aR"], ["du"]]
    )
    def test_nor_where_no_operand_names_another_folder(self, argv: list[str]) -> None:
        assert self.decided(argv).verdict == "ask"

    @pytest.mark.parametrize("path", ["notes", ".sshx", "-n"])
    def test_what_lies_beside_them_is_not(self, path: str) -> None:
        assert self.decided(["cat", path]).verdict == "allowed"

    def test_nobody_works_in_one(self) -> None:
        decision = self.decided(["ls", "x"], cwd="/project/.ssh")
        assert (decision.verdict, "closed to agents" in decision.reason) == ("denied", True)

    def test_nor_is_input_read_from_one(self) -> None:
        assert self.decided(["cat", "x"], stdin=True, stdin_path="/project/.netrc").verdict == "ask"


class TestProgramsWithASlash:
    RULE = Rule(argv=("./scripts/import", "<int>"), cwd=ROOT)

    def test_they_are_looked_up_in_the_rules_folder_and_hold_there_alone(self) -> None:
        found: dict[str, Any] = {"program": "/project/scripts/import"}
        assert judge(["./scripts/import", "3"], self.RULE, **found).verdict == "allowed"
        below: dict[str, Any] = {"program": "/project/sub/scripts/import", "cwd": "/project/sub"}
        assert judge(["./scripts/import", "3"], self.RULE, **below).verdict == "ask"


@pytest.mark.parametrize(
    ("pattern", "never"),
    [
        *(("bash ...", True), ("git ...", True), ("git <word>", True), ("npm exec ...", True)),
        *(("bash", False), ("git status ...", False), ("cat ...", False)),
    ],
)
def test_a_rule_that_can_never_cover_anything_is_known(pattern: str, never: bool) -> None:
    assert (without_effect(Rule(argv=tuple(pattern.split())), resolve) is not None) is never
    assert without_effect(Rule(argv=tuple(pattern.split()), deny=True), resolve) is None
