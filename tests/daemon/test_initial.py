"""The first configuration and the search for apps: what init writes reads back as the answers, and apps are told by their own files."""

from pathlib import Path

import pytest
from dropdock.daemon.app_folders import MODELS, NAMES, SIGNS, AppFolder, find_apps, recognise
from dropdock.daemon.cli import cli
from dropdock.daemon.commands.init import init
from dropdock.daemon.config import read
from dropdock.daemon.initial import Answers, config_text, default_base, defaults, outermost, write
from dropdock.rules.layouts import load_layouts
from dropdock.rules.terms import Mode
from hypothesis import given
from hypothesis import strategies as st


def app_at(folder: Path, layout: str) -> Path:
    """A folder with the app's own files."""
    for sign in SIGNS[layout]:
        path = folder / sign
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix in (".py", ".sln") else path.mkdir()
    if layout in MODELS:
        (folder / MODELS[layout]).mkdir(exist_ok=True)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("DROPDOCK_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(home)
    return home


def test_the_table_of_apps_is_that_of_the_layouts():
    """Every layout can be recognised, and no app is recognised that has no layout."""
    assert set(SIGNS) == set(NAMES) == set(load_layouts())
    assert set(MODELS) <= set(SIGNS)


@pytest.mark.parametrize("layout", SIGNS)
def test_an_app_is_told_by_its_own_files(tmp_path, layout):
    """A folder of any name is recognised by what the app brings; the name alone, or a part of the files, is not enough."""
    assert recognise(app_at(tmp_path / "something", layout)) == layout
    (tmp_path / NAMES[layout] / "models").mkdir(parents=True)
    assert recognise(tmp_path / NAMES[layout]) is None


def test_apps_are_found_below_the_usual_places_once_each(tmp_path):
    """An app two folders down, one in another, and one behind a link are found once each; what is too deep or hidden is not."""
    comfy, forge = app_at(tmp_path / "ai/ComfyUI", "comfyui"), app_at(tmp_path / "forge", "forge")
    app_at(tmp_path / "a/b/c/deep", "comfyui")
    app_at(tmp_path / ".hidden/app", "comfyui")
    (tmp_path / "zz-link").symlink_to(forge)
    found = find_apps((tmp_path, tmp_path / "ai", tmp_path / "nowhere"))
    assert found == (AppFolder("comfyui", comfy), AppFolder("forge", forge))
    assert found[0].models == comfy / "models"


def test_what_is_said_is_what_is_read(home):
    """Two apps of one kind, their models and our folders come out of the loader as they went in."""
    apps = (AppFolder("comfyui", app_at(home / "one", "comfyui")), AppFolder("comfyui", app_at(home / "two", "comfyui")))
    config = read(config_text(defaults(home, apps), home), home / "c.yaml", {"HOME": str(home)})
    assert [(t.name, t.layout, t.path) for t in config.targets] == [
        ("comfyui", "comfyui", apps[0].path),
        ("comfyui-2", "comfyui", apps[1].path),
    ]
    libraries = [(w.name, w.path) for w in config.watches if w.mode is Mode.LIBRARY]
    assert libraries == [("comfyui", home / "one/models"), ("comfyui-2", home / "two/models")]
    assert (config.hub, config.datasets) == (home / "dropdock/hub", home / "dropdock/datasets")
    assert config.watches[0].path == home / "dropdock/inbox"


NAME = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda name: name.strip() not in ("", ".", "..")
)


@given(st.lists(NAME, min_size=4, max_size=4, unique_by=str.casefold))
def test_no_name_adds_structure_or_a_variable(names):
    """Folders may be called anything: quotes, colons, `${HOME}`, line ends; the file says exactly these folders."""
    home = Path("/home/me")
    inbox, hub, datasets, app = (home / f"{n}{name}" for n, name in enumerate(names))
    text = config_text(Answers(inbox, hub, datasets, (AppFolder("forge", app),)), home)
    config = read(text, Path("/etc/c.yaml"), {"HOME": str(home)})
    assert (config.watches[0].path, config.hub, config.datasets) == (inbox, hub, datasets)
    assert config.targets[0].path == app


def test_no_watch_lies_in_another(tmp_path):
    """Of folders in each other only the outermost is kept, in the order given."""
    a, b = tmp_path / "a", tmp_path / "b"
    (a / "in").mkdir(parents=True)
    b.symlink_to(a / "in")
    assert outermost([b, tmp_path / "c", a, a / "in"]) == (tmp_path / "c", a)


def test_folders_go_where_the_apps_are_when_that_is_another_disk(tmp_path, monkeypatch):
    """On a rented machine the disk with the apps is the one that stays; on one disk it is the home."""
    app = AppFolder("comfyui", tmp_path / "workspace/ComfyUI")
    monkeypatch.setattr("dropdock.daemon.initial._disk", lambda path: 2 if "workspace" in path.parts else 1)
    assert default_base(tmp_path / "home", [app]) == tmp_path / "workspace/dropdock"
    monkeypatch.setattr("dropdock.daemon.initial._disk", lambda path: 1)
    assert default_base(tmp_path / "home", [app]) == tmp_path / "home/dropdock"


def test_a_file_that_is_there_is_kept(tmp_path):
    """Writing is refused, byte for byte, and a new one is its owner's alone."""
    path = tmp_path / "new/c.yaml"
    write(path, "hub: ~/x\n")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write(path, "other")
    assert path.read_text() == "hub: ~/x\n"


def test_init_asks_and_writes_what_check_accepts(home, runner):
    """Answers in a dialogue end in the file; an app that was declined is not in it, one that was named is; check reads it."""
    app_at(home / "ComfyUI", "comfyui")
    app_at(home / "forge", "forge")
    trainer = app_at(home.parent / "far/away/indeed/trainer", "ai-toolkit")
    said = f"y\nn\n{trainer}\n\n{home}/drop\n\n\ny\n"
    done = runner.invoke(cli, ["init"], input=said, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    path = home / ".config/dropdock/config.yaml"
    config = read(path.read_text(), path, {"HOME": str(home)})
    assert [(t.name, t.path) for t in config.targets] == [("comfyui", home / "ComfyUI"), ("ai-toolkit", trainer)]
    assert [w.path for w in config.watches][:2] == [home / "drop", home / "ComfyUI/models"]
    assert "no models" in done.output
    assert runner.invoke(cli, ["check"]).exit_code == 0


def test_init_refuses_to_write_over_a_file(home, runner):
    """A second init ends with code 1 and leaves the file; another one can be named."""
    first = runner.invoke(cli, ["init", "--yes"])
    assert first.exit_code == 0, first.output
    path = home / ".config/dropdock/config.yaml"
    path.write_text("hub: ~/mine\n")
    again = runner.invoke(cli, ["init", "--yes"])
    assert again.exit_code == 1 and "is there already" in again.output
    assert path.read_text() == "hub: ~/mine\n"
    assert "next: dropdock doctor, then dropdock run\n" in first.output
    other = runner.invoke(init, ["--yes", "--config", str(home / "other.yaml")])
    assert other.exit_code == 0 and f"then dropdock --config {home / 'other.yaml'} run\n" in other.output
    assert (home / "other.yaml").exists()


SWARM = (
    "SwarmUI.sln", "launch-linux.sh", "launchtools/", "src/SwarmUI.csproj", "src/Core/Settings.cs", "src/Text2Image/T2IModel.cs",
    "src/BuiltinExtensions/ComfyUIBackend/ExtraNodes/SwarmComfyCommon/__init__.py", "src/wwwroot/js/", "Data/", "Output/local/",
    *(f"Models/{n}/" for n in ("Stable-Diffusion", "Lora", "VAE", "Embeddings", "controlnet", "clip", "clip_vision", "diffusion_models")),
)  # fmt: skip
KIT = (
    "run.py", "flux_train_ui.py", "toolkit/config_modules.py", "toolkit/models/lora_special.py", "extensions/example/__init__.py",
    "extensions_built_in/sd_trainer/SDTrainer.py", "extensions_built_in/diffusion_models/z_image/", "config/examples/lora.yaml",
    "jobs/process/", "ui/src/app/api/datasets/list/route.ts", "ui/package.json", "datasets/", "output/",
)  # fmt: skip
COMFY = ("folder_paths.py", "nodes.py", "main.py", "comfy/sd.py", "models/loras/", "models/checkpoints/", "custom_nodes/")


def grown(folder: Path, names: tuple[str, ...]) -> Path:
    """A tree of files and, with a slash behind them, folders."""
    for name in names:
        path = folder / name
        path.mkdir(parents=True) if name.endswith("/") else path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return folder


def test_init_finds_trees_shaped_like_the_real_apps(home, runner):
    """SwarmUI with the ComfyUI that it brings, and the AI Toolkit beside it: each is found once as itself, none of their many folders is
    taken for an app; SwarmUI's `Models` becomes a library, the trainer has none; what is written is accepted."""
    swarm, kit = grown(home / "SwarmUI", SWARM), grown(home / "ai-toolkit", KIT)
    grown(swarm / "dlbackend/ComfyUI", COMFY)
    found = {app.path: app.layout for app in find_apps((home,))}
    assert found == {swarm: "swarmui", kit: "ai-toolkit"}
    inner = find_apps((swarm,))
    assert [(app.layout, app.path) for app in inner] == [("comfyui", swarm / "dlbackend/ComfyUI"), ("swarmui", swarm)]
    done = runner.invoke(cli, ["init", "--yes"], catch_exceptions=False)
    assert done.exit_code == 0 and "SwarmUI" in done.output and "AI Toolkit" in done.output, done.output
    path = home / ".config/dropdock/config.yaml"
    config = read(path.read_text(), path, {"HOME": str(home)})
    assert [(t.name, t.layout, t.path) for t in config.targets] == [
        ("swarmui", "swarmui", swarm),
        ("ai-toolkit", "ai-toolkit", kit),
    ]
    assert [w.path for w in config.watches if w.mode is Mode.LIBRARY] == [swarm / "Models"]
    layouts = load_layouts()
    assert (swarm / (layouts["swarmui"].place("lora", "x.safetensors")[0] or "")).parent == swarm / "Models"
    assert runner.invoke(cli, ["check"]).exit_code == 0
