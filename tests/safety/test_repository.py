"""A repository's own settings and hooks make git run programs: shown to be so, and held by runq."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from queue_core.repository import git_config
from queue_core.repository.inspection import runs_programs
from tests.safety.workshop import GIT, git, repository, write


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "repo"
    repository(folder)
    return folder


def configured(repo: Path, text: str) -> None:
    with (repo / ".git/config").open("a") as file:
        file.write(text)


def found(folder: Path, command: str = "git status") -> str | None:
    argv = command.split()
    return runs_programs("/usr/bin/git", argv, str(folder))


class TestWhatIsReal:
    """Run by hand once, so that nobody takes these for theory."""

    @pytest.fixture
    def canary(self, repo: Path) -> Path:
        write(repo.parent / "evil", f"#!/bin/sh\ntouch {repo.parent}/canary\n", 0o755)
        return repo.parent / "canary"

    def status(self, repo: Path, command: str = "git status") -> None:
        subprocess.run(command.split(), cwd=repo, capture_output=True, check=False, stdin=subprocess.DEVNULL)

    def test_git_status_runs_core_fsmonitor(self, repo: Path, canary: Path) -> None:
        configured(repo, f"[core]\n\tfsmonitor = {repo.parent}/evil\n")
        self.status(repo)
        assert canary.exists()
        assert found(repo) == f"core.fsmonitor in {repo}/.git/config"

    def test_git_status_runs_that_of_a_submodule(self, repo: Path, canary: Path) -> None:
        repository(repo / "sub")
        git(repo, "-c", "advice.addEmbeddedRepo=false", "add", "sub")
        configured(repo / "sub", f"[core]\n\tfsmonitor = {repo.parent}/evil\n")
        self.status(repo)
        assert canary.exists()
        assert "submodules" in (found(repo) or "")

    def test_git_status_runs_a_hook(self, repo: Path, canary: Path) -> None:
        (repo / "file").write_text("x")
        git(repo, "add", "file")
        os.utime(repo / "file", (1, 1))
        write(repo / ".git/hooks/post-index-change", (repo.parent / "evil").read_text(), 0o755)
        self.status(repo)
        assert canary.exists()
        assert found(repo) == "the hook post-index-change"

    def test_git_push_into_a_folder_runs_its_hooks(self, repo: Path, canary: Path) -> None:
        subprocess.run(["git", "init", "-q", "--bare", "near.git"], cwd=repo, check=True)
        write(repo / "near.git/hooks/post-receive", (repo.parent / "evil").read_text(), 0o755)
        self.status(repo, "git push near HEAD:refs/heads/x")
        assert canary.exists()
        assert "near is a folder" in (found(repo, "git push near HEAD:refs/heads/x") or "")


class TestWhatGotThrough:
    """Each ran a program, or read another repository, under a rule for an ordinary command."""

    @pytest.fixture
    def canary(self, repo: Path) -> Path:
        write(repo.parent / "evil", f"#!/bin/sh\ntouch {repo.parent}/canary\n", 0o755)
        return repo.parent / "canary"

    def ran(self, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
        words = ["git", *GIT, *command.split()[1:]]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    def evil(self, repo: Path, hook: Path) -> None:
        write(hook, f"#!/bin/sh\ntouch {repo.parent}/canary\n", 0o755)

    @pytest.mark.parametrize("bare", [False, True])
    def test_a_repository_whose_folders_are_executable_files(self, repo: Path, canary: Path, bare: bool) -> None:
        """Git asks only whether `objects` and `refs` may be executed."""
        inner = repo / "sub" / ("" if bare else ".git")
        for name in ("objects", "refs"):
            write(inner / name, "", 0o755)
        write(inner / "HEAD", "ref: refs/heads/main\n")
        tree = f"\tworktree = {repo}/sub\n" if bare else ""
        write(
            inner / "config",
            f"[core]\n\trepositoryformatversion = 0\n\tpager = x\n{tree}[alias]\n\tx = !{repo}/../evil\n",
        )
        self.ran(repo / "sub", "git x")
        assert canary.exists()
        assert "cannot be understood" in (found(repo / "sub") or "")

    @pytest.mark.parametrize("setting", ["branch.main.remote", "branch.main.pushRemote", "remote.pushDefault"])
    def test_a_push_into_the_repository_itself(self, repo: Path, canary: Path, setting: str) -> None:
        configured(repo, '[push]\n\tdefault = upstream\n[branch "main"]\n\tremote = .\n\tmerge = refs/heads/other\n')
        git(repo, "config", setting, ".")
        git(repo, "config", "push.default", "upstream" if setting == "branch.main.remote" else "current")
        git(repo, "config", "receive.denyCurrentBranch", "ignore")
        git(repo, "branch", "other")
        git(repo, "commit", "-q", "--allow-empty", "-m", "second")
        self.evil(repo, repo / ".git/hooks/update")
        self.ran(repo, "git push")
        assert canary.exists() or setting != "branch.main.remote"  # the others find everything up to date
        assert found(repo, "git push") == "the hook update"

    @pytest.mark.parametrize("name", ["add", "show", "prune", "update", "get-url"])
    def test_a_folder_by_the_name_of_a_subcommand_of_remote(self, repo: Path, canary: Path, name: str) -> None:
        subprocess.run(["git", "init", "-q", "--bare", name], cwd=repo, check=True)
        self.evil(repo, repo / name / "hooks/pre-receive")
        self.ran(repo, f"git push {name} main")
        assert canary.exists()
        assert f"{name} is a folder" in (found(repo, f"git push {name} main") or "")
        assert found(repo, f"git remote {name} x") is None

    @pytest.mark.parametrize(
        ("command", "below"),
        [
            ("git push near HEAD:refs/heads/x", True),  # git goes to the top first
            ("git push -o x near HEAD:refs/heads/x", False),
            ("git push --repo=near", False),
        ],
    )
    def test_a_folder_that_is_not_the_first_word_or_not_here(
        self, repo: Path, canary: Path, command: str, below: bool
    ) -> None:
        subprocess.run(["git", "init", "-q", "--bare", "near"], cwd=repo, check=True)
        git(repo / "near", "config", "receive.advertisePushOptions", "true")
        configured(repo, "[push]\n\tdefault = current\n")
        self.evil(repo, repo / "near/hooks/pre-receive")
        (repo / "sub").mkdir()
        folder = repo / "sub" if below else repo
        self.ran(folder, command)
        assert canary.exists()
        assert "near is a folder" in (found(folder, command) or "")

    def test_an_address_that_git_does_not_read(self, repo: Path, canary: Path) -> None:
        """config.worktree counts only if another setting says so."""
        subprocess.run(["git", "init", "-q", "--bare", "near"], cwd=repo, check=True)
        self.evil(repo, repo / "near/hooks/pre-receive")
        write(repo / ".git/config.worktree", '[remote "near"]\n\turl = https://example.org/x\n')
        self.ran(repo, "git push near main")
        assert canary.exists()
        assert "near is a folder" in (found(repo, "git push near main") or "")

    def test_a_folder_of_hooks_that_git_reads_although_another_is_named_last(self, repo: Path, canary: Path) -> None:
        configured(repo, f"[core]\n\thooksPath = {repo}/h\n")
        write(repo / ".git/config.worktree", f"[core]\n\thooksPath = {repo}/none\n")
        self.evil(repo, repo / "h/reference-transaction")
        self.ran(repo, "git branch x")
        assert canary.exists()
        assert found(repo, "git branch x") == "the hook reference-transaction"

    def test_git_restore_runs_a_hook(self, repo: Path, canary: Path) -> None:
        (repo / "file").write_text("x")
        git(repo, "add", "file")
        (repo / "file").write_text("y")
        self.evil(repo, repo / ".git/hooks/post-checkout")
        self.ran(repo, "git restore file")
        assert canary.exists()
        assert found(repo, "git restore file") == "the hook post-checkout"

    def test_hooks_below_the_working_folder_of_a_bare_repository(self, repo: Path, canary: Path) -> None:
        git(repo, "config", "core.bare", "true")
        configured(repo, "[core]\n\thooksPath = h\n")
        self.evil(repo, repo / "sub/h/reference-transaction")
        self.ran(repo / "sub", "git branch x")
        assert canary.exists()
        assert found(repo / "sub", "git branch x") == "core.hookspath"

    @pytest.mark.parametrize("command", ["gh pr checkout 5", "gh repo sync", "glab mr checkout 5", "git-lfs pull"])
    def test_a_program_that_has_git_change_files_may_run_every_hook(self, repo: Path, command: str) -> None:
        self.evil(repo, repo / ".git/hooks/post-checkout")
        argv = command.split()
        assert runs_programs(f"/bin/{argv[0]}", argv, str(repo)) == "the hook post-checkout"
        assert runs_programs("/bin/gh", ["gh", "pr", "list"], str(repo)) is None


class TestWhereItLies:
    """What git reads lies where agents may work, or it is asked about."""

    def judged(self, folder: Path, root: Path) -> str | None:
        def holds(path: str) -> bool:
            return path == str(root) or path.startswith(f"{root}/")

        return runs_programs("/usr/bin/git", ["git", "log"], str(folder), holds=holds)

    @pytest.fixture
    def other(self, repo: Path) -> Path:
        folder = repo.parent / "other"
        repository(folder)
        write(folder / "file", "SECRET")
        git(folder, "add", "file")
        git(folder, "commit", "-q", "-m", "secret")
        return folder

    def read(self, folder: Path, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False).stdout

    def test_a_usual_one_is_fine(self, repo: Path) -> None:
        assert self.judged(repo, repo) is None

    def test_a_pointer_out(self, repo: Path, other: Path) -> None:
        write(repo / "sub/.git", f"gitdir: {other}/.git\n")
        assert "secret" in self.read(repo / "sub", "log")
        assert self.judged(repo / "sub", repo) == f"the repository lies outside: {other}/.git"

    def test_a_link_out(self, repo: Path, other: Path) -> None:
        (repo / "sub").mkdir()
        (repo / "sub/.git").symlink_to(other / ".git")
        assert "secret" in self.read(repo / "sub", "log")
        assert "lies outside" in (self.judged(repo / "sub", repo) or "")

    def test_a_shared_folder_out(self, repo: Path, other: Path) -> None:
        write(repo / "sub/.git/commondir", f"{other}/.git\n")
        write(repo / "sub/.git/HEAD", "ref: refs/heads/main\n")
        assert "secret" in self.read(repo / "sub", "log")
        assert "lies outside" in (self.judged(repo / "sub", repo) or "")

    @pytest.mark.parametrize("by", ["an alternate", "an alternate of one", "a link of objects", "a link of packs"])
    def test_objects_out(self, repo: Path, other: Path, by: str) -> None:
        commit = self.read(other, "rev-parse", "HEAD").strip()
        git(other, "repack", "-adq")
        objects = repo / ".git/objects"
        if by == "an alternate":
            write(objects / "info/alternates", f"# x\n{other}/.git/objects\n")
        elif by == "an alternate of one":
            write(objects / "info/alternates", "../more\n")
            write(repo / ".git/more/info/alternates", "../../../other/.git/objects\n")
        elif by == "a link of objects":
            objects.rename(repo / "gone")
            objects.symlink_to(other / ".git/objects")
        else:
            (objects / "pack").rmdir()
            (objects / "pack").symlink_to(other / ".git/objects/pack")
        assert "SECRET" in self.read(repo, "show", commit)
        assert "lies outside" in (self.judged(repo, repo) or "")

    def test_an_alternate_within_is_fine_and_one_that_cannot_be_read_is_not(self, repo: Path) -> None:
        alternates = repo / ".git/objects/info/alternates"
        write(alternates, "../more\n")
        assert self.judged(repo, repo) is None
        write(alternates, '"/\\145tc"\n')
        assert "cannot be understood" in (self.judged(repo, repo) or "")
        write(alternates, "".join(f"../{number}\n" for number in range(50)))
        assert "more alternates" in (self.judged(repo, repo) or "")

    def test_a_working_tree_that_its_repository_outside_knows_is_fine(self, repo: Path, other: Path) -> None:
        git(other, "worktree", "add", "-q", str(repo.parent / "tree"))
        tree = repo.parent / "tree"
        assert self.judged(tree, tree) is None
        (repo / "sub").mkdir()
        (repo / "sub/.git").write_text((tree / ".git").read_text())  # somebody else's
        assert "lies outside" in (self.judged(repo / "sub", repo) or "")

    def test_a_repository_around_the_project_is_asked_about(self, repo: Path) -> None:
        """All of it could be read, and only a part of it is the agents' to read."""
        (repo / "sub").mkdir()
        assert "lies outside" in (self.judged(repo / "sub", repo / "sub") or "")
        assert self.judged(repo / "sub", repo) is None


class TestTheUsual:
    @pytest.mark.parametrize("command", ["git status", "git log -5", "git commit -m x", "git push origin main", "ls"])
    def test_a_fresh_repository_runs_nothing(self, repo: Path, command: str) -> None:
        configured(repo, '[remote "origin"]\n\turl = git@example.org:a/b.git\n\tfetch = +refs/heads/*:refs/x/*\n')
        configured(repo, '[branch "main"]\n\tremote = origin\n\tmerge = refs/heads/main\n')
        configured(repo, "[core]\n\tfsmonitor = true\n")
        (repo / "src").mkdir()
        assert found(repo, command) is None
        assert found(repo / "src", command) is None

    def test_outside_of_any_nothing_is_run(self, tmp_path: Path) -> None:
        assert found(tmp_path) is None

    def test_other_programs_are_not_asked_about(self, repo: Path) -> None:
        configured(repo, "[core]\n\tpager = x\n")
        assert runs_programs("/bin/ls", ["ls"], str(repo)) is None
        assert runs_programs("/usr/bin/git", ["ls"], str(repo)) is not None  # by either name

    def test_a_program_that_runs_git_counts(self, repo: Path) -> None:
        assert runs_programs("/bin/gh", ["gh", "pr", "list"], str(repo)) is None
        configured(repo, "[credential]\n\thelper = !evil\n")
        assert runs_programs("/bin/gh", ["gh", "pr", "list"], str(repo)) is not None


RUNNING = """
core.sshCommand=x core.pager=x core.editor=x core.askPass=x core.gitProxy=x core.alternateRefsCommand=x
core.fsmonitor=.git/x core.worktree=/ core.attributesFile=x core.excludesFile=x pager.log=x sequence.editor=x
diff.external=x diff.a.command=x diff.a.textconv=x merge.a.driver=x filter.a.clean=x filter.a.smudge=x
filter.a.process=x credential.helper=x credential.https://a.b.helper=x gpg.program=x gpg.ssh.program=x
alias.status=!x alias.st=status include.path=x includeIf.gitdir:/.path=x remote.a.uploadpack=x
remote.a.receivepack=x remote.a.vcs=x remote.a.proxy=x remote.a.url=ext::x remote.a.url=../x remote.a.url=/x
remote.a.url=file:///x remote.a.url=-oProxyCommand=x remote.a.pushurl=x::y remote.a.url=ssh://-oProxyCommand=x/y
branch.a.remote=./x branch.a.remote=x branch.a.pushRemote=ext::x remote.pushDefault=x url.ext::x.insteadOf=https
protocol.ext.allow=always uploadpack.packObjectsHook=x interactive.diffFilter=x difftool.a.cmd=x
mergetool.a.path=x browser.a.cmd=x web.browser=x man.a.cmd=x submodule.a.update=!x submodule.recurse=true
trailer.a.cmd=x trailer.a.command=x instaweb.httpd=x sendemail.smtpServer=/x http.proxy=x tar.a.command=x
commit.template=x blame.ignoreRevsFile=x init.templateDir=x gc.recentObjectsHook=x hook.a.command=x
receive.procReceiveRefs=x guitool.a.cmd=x rebase.instructionFormat=x ssh.variant=x
""".split()  # noqa: SIM905


@pytest.mark.parametrize("setting", RUNNING)
def test_a_setting_that_runs_or_leads_elsewhere_is_named(repo: Path, setting: str) -> None:
    key, _, value = setting.partition("=")
    git(repo, "config", key, value)
    if key in ("ssh.variant", "rebase.instructionFormat"):
        assert found(repo)  # not known to be harmless is enough
    else:
        assert (found(repo) or "").lower().startswith(key.lower().rsplit(".", 1)[0])


@pytest.mark.parametrize(
    "text",
    [
        "[core]fsmonitor=x\n", "[CORE]\nFSMonitor = x", "\ufeff[core]\r\n\tfsmonitor = x\r\n",
        "[core]\nfsmonitor = \\\nx",
        '[core]\n fsmonitor = "x"', "[core] # comment\n fsmonitor = x ; y", "[core]\n fsmonitor = true\n fsmonitor = x",
        '[alias "a"]\n command = x', "[core]\n a\n[alias]\n x = !y", "[alias]\n x", "[diff.a]\n textconv = x",
        '[diff "a]b"]\n textconv = x', '[diff "a\\"b"]\n textconv = x', '[user]\n name = "a;b" # c\n[core]\npager = x',
        "[core]\n bare = false\n[include]path=x",
    ],
)  # fmt: skip
def test_however_it_is_written(repo: Path, text: str) -> None:
    (repo / ".git/config").write_text(text, newline="")
    assert found(repo) is not None


@pytest.mark.parametrize(
    "text",
    ["x = y", "[core", "[core]\n = y", '[core "a]\n', "[core]\n x y", '[core]\n x = "y', "[core]\n x = \\q", "[]\n",
     "[core]\n1x = y", "\0", '[core "a" ]\n', "[core]\x0bfsmonitor=x"],
)  # fmt: skip
def test_what_cannot_be_understood_is_asked_about(repo: Path, text: str) -> None:
    (repo / ".git/config").write_text(text)
    assert "cannot be understood" in (found(repo) or "")


@pytest.mark.parametrize(
    "text",
    ["[core]\n bare", "[user]\n name = \"a b\" # c", "[core]\n\tbare = false\n\n; x\n[user]\n\temail = \\\n a@b", "",
     "[color \"branch\"]\n current = yellow", "[core]\n fsmonitor", "[core]\n\tfsmonitor = false\r\n"],
)  # fmt: skip
def test_what_is_harmless_stays_so(repo: Path, text: str) -> None:
    (repo / ".git/config").write_text(text, newline="")
    assert found(repo) is None


def test_values_are_read_as_git_reads_them(repo: Path) -> None:
    text = '[user]\n\tname = " a ;b\\t" c  # d\n\temail = x\\\n  y  \n[branch "A\\"b"]\n\tmerge = "r"s\n'
    (repo / ".git/config").write_text(text)
    for entry in git_config.parse(text):
        section, star, name = entry.key.partition(".*.")
        key = f"{section}.{entry.subsection}.{name}" if star else entry.key
        said = subprocess.run(["git", "config", "-z", key], cwd=repo, capture_output=True, text=True, check=True).stdout
        assert said == (entry.value or "") + "\0"


class TestHooks:
    def hook(self, folder: Path, name: str, mode: int = 0o755) -> None:
        write(folder / name, "#!/bin/sh\n", mode)

    @pytest.mark.parametrize(
        ("hook", "command", "runs"),
        [
            ("pre-commit", "git commit -m x", True),
            ("commit-msg", "git commit -m x", True),
            ("pre-commit", "git status", False),
            ("pre-commit", "git log", False),
            ("pre-push", "git push origin main", True),
            ("post-checkout", "git switch main", True),
            ("post-checkout", "git restore x", True),
            ("pre-auto-gc", "git fetch origin", True),
            ("pre-auto-gc", "git log", True),  # which fetches what a partial clone lacks
            ("update", "git push origin main", False),
            ("pre-receive", "git archive HEAD", True),
            ("post-merge", "git pull", True),
            ("anything", "git unknown", True),
            ("post-index-change", "git add x", True),
            ("reference-transaction", "git tag x", True),
            ("pre-commit.sample", "git commit -m x", False),
        ],
    )
    def test_those_that_the_subcommand_runs_are_named(self, repo: Path, hook: str, command: str, runs: bool) -> None:
        self.hook(repo / ".git/hooks", hook)
        assert found(repo, command) == (f"the hook {hook}" if runs else None)

    def test_one_that_cannot_be_executed_is_none(self, repo: Path) -> None:
        self.hook(repo / ".git/hooks", "pre-commit", 0o644)
        assert found(repo, "git commit -m x") is None

    def test_another_folder_of_hooks_is_looked_into(self, repo: Path) -> None:
        configured(repo, f"[core]\n\thooksPath = {repo}/.husky\n")
        assert found(repo, "git commit -m x") is None
        self.hook(repo / ".husky", "pre-commit")
        assert found(repo, "git commit -m x") == "the hook pre-commit"
        assert found(repo, "git status") is None

    @pytest.mark.parametrize("path", ["~/hooks", "%(prefix)/hooks", "", ".husky", "./h", "h"])
    def test_unless_nobody_knows_where_it_is(self, repo: Path, path: str) -> None:
        configured(repo, f"[core]\n\thooksPath = {path}\n")
        assert found(repo) == "core.hookspath"


class TestFindingIt:
    def test_a_linked_working_tree_has_the_settings_of_its_repository(self, repo: Path) -> None:
        git(repo, "worktree", "add", "-q", "../tree")
        assert found(repo.parent / "tree") is None
        configured(repo, "[alias]\n\tx = !y\n")
        assert "alias.x" in (found(repo.parent / "tree") or "")

    def test_and_some_of_its_own(self, repo: Path) -> None:
        git(repo, "worktree", "add", "-q", "../tree")
        write(repo / ".git/worktrees/tree/config.worktree", "[core]\n\tpager = x\n")
        assert "core.pager" in (found(repo.parent / "tree") or "")
        assert found(repo) is None

    def test_a_bare_one_is_found(self, repo: Path) -> None:
        configured(repo, "[core]\n\tpager = x\n")
        (repo / ".git").rename(repo / "objects-and-all")
        assert "core.pager" in (found(repo / "objects-and-all/refs") or "")

    @pytest.mark.parametrize("text", ["gitdir: nowhere", "nonsense", "", "gitdir: ../.."])
    def test_a_pointer_that_leads_nowhere_is_asked_about(self, repo: Path, text: str) -> None:
        write(repo / "sub/.git", text)
        assert found(repo / "sub") is not None

    def test_a_folder_of_that_name_that_is_none_does_not_hide_the_one_above(self, repo: Path) -> None:
        configured(repo, "[core]\n\tpager = x\n")
        (repo / "sub/.git").mkdir(parents=True)
        assert "core.pager" in (found(repo / "sub") or "")

    @pytest.mark.parametrize("what", ["a folder", "a pipe", "too long", "a link to nowhere"])
    def test_settings_that_are_no_plain_file_are_asked_about(self, repo: Path, what: str) -> None:
        config = repo / ".git/config"
        config.unlink()
        if what == "a folder":
            config.mkdir()
        elif what == "a pipe":
            os.mkfifo(config)
        elif what == "too long":
            config.write_text("#" * 300_000)
        else:
            config.symlink_to(config)
        assert found(repo) is not None

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_one_of_another_user_is_asked_about(self, repo: Path) -> None:
        os.chown(repo / ".git", 12345, 12345)
        assert "another user" in (found(repo) or "")

    @pytest.mark.parametrize(
        "command",
        ["git -C sub status", "git --git-dir=x status", "git --work-tree / status", "git -c a.b=c status",
         "git --exec-path=x status", "git -p log", "git --bare log", "git --config-env=a=b log"],
    )  # fmt: skip
    def test_options_that_lead_git_elsewhere_are_asked_about(self, tmp_path: Path, command: str) -> None:
        assert "elsewhere" in (found(tmp_path, command) or "")

    def test_harmless_ones_are_not(self, repo: Path) -> None:
        assert found(repo, "git --no-pager log") is None
        assert found(repo, "git --version") is None

    def test_a_rebase_under_way_may_run_anything(self, repo: Path) -> None:
        (repo / ".git/rebase-merge").mkdir()
        assert "rebase" in (found(repo, "git rebase --continue") or "")

    def test_addresses_of_the_old_kind_are_asked_about(self, repo: Path) -> None:
        write(repo / ".git/remotes/origin", "URL: ext::x\n")
        assert "addresses" in (found(repo, "git fetch origin") or "")

    def test_names_of_any_bytes_do_not_break_it(self, repo: Path) -> None:
        (repo / ".git/config").write_bytes(b'[diff "\xff\x00"]\n\ttextconv = x\n')
        said = found(repo) or ""
        assert said.isprintable()
        assert said.encode()


class TestMercurial:
    def test_its_settings_are_looked_at_too(self, tmp_path: Path) -> None:
        (tmp_path / ".hg").mkdir()
        assert runs_programs("/usr/bin/hg", ["hg", "status"], str(tmp_path)) is None
        write(tmp_path / ".hg/hgrc", "[paths]\ndefault = https://example.org/x\n[ui]\nusername = me\n")
        assert runs_programs("/usr/bin/hg", ["hg", "status"], str(tmp_path)) is None
        write(tmp_path / ".hg/hgrc", "[hooks]\npre-status = touch x\n")
        assert "hooks.pre-status" in (runs_programs("/usr/bin/hg", ["hg", "status"], str(tmp_path)) or "")

    def test_options_that_lead_it_elsewhere_are_asked_about(self, tmp_path: Path) -> None:
        assert runs_programs("/usr/bin/hg", ["hg", "--config", "a.b=c", "status"], str(tmp_path))


class TestHowMuchIsLookedAt:
    """It is looked at while the store waits: what takes long is asked about instead."""

    def test_marks_of_submodules_that_stand_there_by_chance(self, repo: Path) -> None:
        index = repo / ".git/index"
        index.write_bytes(b"DIRC\x00\x00\x00\x02" + b"\x00\x00\xe0\x00    " * 900)
        assert found(repo) is None
        index.write_bytes(b"DIRC\x00\x00\x00\x02" + b"\x00\x00\xe0\x00    " * 1100)
        assert "submodules" in (found(repo) or "")

    def test_indexes_beyond_all_measure(self, repo: Path) -> None:
        for name in ("sharedindex.a", "sharedindex.b"):
            (repo / ".git" / name).touch()
            os.truncate(repo / ".git" / name, 40 * 1024 * 1024)
        assert "no file of a usual size" in (found(repo) or "")

    def test_a_configuration_beyond_all_measure(self, repo: Path) -> None:
        configured(repo, "# nothing\n" * 7000)
        assert "no file of a usual size" in (found(repo) or "")


def test_a_remote_of_the_repository_itself_counts_wherever_it_is_named(repo: Path) -> None:
    configured(repo, "[extensions]\n\tworktreeConfig = true\n[push]\n\tdefault = upstream\n")
    (repo / ".git/config.worktree").write_text('[branch "main"]\n\tremote = .\n\tmerge = refs/heads/other\n')
    write(repo / ".git/hooks/update", "#!/bin/sh\n", 0o755)
    assert found(repo, "git push") == "the hook update"


@pytest.mark.parametrize("place", ["logs/HEAD", "refs/heads/other", "info/exclude", "logs/refs"])
def test_links_deep_in_it_that_lead_outside(repo: Path, place: str) -> None:
    """git commit writes a line of the agent's into what logs/HEAD leads to."""
    (repo.parent / "outside").write_text("")
    path = repo / ".git" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        path.rename(repo / ".git/moved")
    path.unlink(missing_ok=True)
    path.symlink_to(repo.parent / "outside")
    argv = ["git", "commit", "-m", "x"]
    said = runs_programs("/usr/bin/git", argv, str(repo), holds=lambda real: real.startswith(str(repo)))
    assert "lies outside" in (said or "")
