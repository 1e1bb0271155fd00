"""weights: names, folders, repositories and addresses become a folder; a real server plays the hub, nothing leaves the machine."""

import hashlib
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dropdock.handlers.captioners.registry import NoSuchTagger, described, entries, entry
from dropdock.handlers.captioners.weights import Hub, NoWeights, download, find, in_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "SmilingWolf/wd-vit-tagger-v3": {"model.onnx": b"M" * 300_000, "selected_tags.csv": b"tag_id,name,category,count\n"},
    "cella110n/cl_tagger": {"cl_tagger_1_02/model.onnx": b"C" * 10, "cl_tagger_1_02/tag_mapping.json": b"{}"},
    "some/one": {"model.onnx": b"O", "selected_tags.csv": b"tag_id,name,category,count\n"},
}


class Server(http.server.ThreadingHTTPServer):
    """A hub: HEAD and GET of /owner/name/resolve/revision/file, and plain files below /plain. `asked` are the paths of GETs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.plain: dict[str, bytes] = {}
        self.lie = 0  # bytes that a plain file claims beyond what it has
        self.breaks = 0  # answers of the hub that break off in the middle

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Speaks what the hub's client listens for: ETag and X-Repo-Commit, X-Error-Code on refusal."""

    server: Server

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._serve(body=True)

    def _serve(self, body: bool) -> None:
        self.server.tokens.add(self.headers.get("Authorization", ""))
        path = self.path.split("?")[0]
        if path.startswith("/plain/"):
            data = self.server.plain.get(path)
            self._answer(200 if data is not None else 404, data or b"", body, lie=self.server.lie)
            return
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        if repo == "cella110n/cl_tagger_v2" and "Bearer good" not in self.server.tokens:
            self._answer(401, b"", body, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to it is restricted."})
        elif repo not in FILES:
            self._answer(401, b"", body, {"X-Error-Code": "RepoNotFound"})
        else:
            data = FILES[repo].get(rest.partition("/")[2])
            headers = {"X-Repo-Commit": COMMIT}
            if data is None:
                self._answer(404, b"", body, {**headers, "X-Error-Code": "EntryNotFound"})
            else:
                self._answer(200, data, body, {**headers, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'})

    def _answer(self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None, lie: int = 0) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data) + lie), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and data and self.server.breaks:
            self.server.breaks -= 1
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def hub(server: Server, tmp_path: Path) -> Hub:
    return Hub(endpoint=server.url, cache=tmp_path / "cache")


def quiet(text: str) -> None:
    pass


# ---------------------------------------------------------------- the hub


def test_a_name_of_the_table_is_downloaded_once(server, hub):
    """Into the hub's cache, with news of how far it is; the second time nothing is downloaded."""
    told: list[str] = []
    found = find("wd-vit-tagger-v3", hub, told.append)
    assert found.model.read_bytes() == b"M" * 300_000 and found.labels.name == "selected_tags.csv"
    assert found.entry is not None and found.entry.thresholds == {"general": 0.35, "character": 0.85}
    assert "downloading wd-vit-tagger-v3: model.onnx 100 %" in told
    before = len(server.asked)
    assert find("wd-vit-tagger-v3", hub, quiet).model == found.model
    assert [path for path in server.asked[before:] if path.endswith("model.onnx")] == []


def test_a_folder_of_a_repository(hub):
    """A table entry may lie deeper; owner/repository/folder names the same."""
    found = find("cl-tagger-1.02", hub, quiet)
    assert found.model.read_bytes() == b"C" * 10 and found.labels.name == "tag_mapping.json"
    assert find("cella110n/cl_tagger/cl_tagger_1_02", hub, quiet) == found


def test_a_download_that_breaks_off_is_taken_up_again_in_silence(server, hub, monkeypatch, capfd, caplog):
    """Twice: nothing is printed but our own news; our log has the retries at debug, in one line each and once."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.breaks = 2
    told: list[str] = []
    with caplog.at_level("DEBUG", "dropdock.weights"):
        found = find("wd-vit-tagger-v3", hub, told.append)
    assert found.model.read_bytes() == b"M" * 300_000 and all(line.startswith("downloading wd-vit") for line in told)
    assert capfd.readouterr() == ("", "")
    ours = [r for r in caplog.records if r.name == "dropdock.weights" and "Trying to resume" in r.getMessage()]
    assert [(r.levelname, "\n" in r.getMessage()) for r in ours] == [("DEBUG", False)] * 2
    theirs = logging.getLogger("huggingface_hub")
    assert not theirs.propagate and not any(type(h) is logging.StreamHandler for h in theirs.handlers)


def test_a_repository_that_is_in_no_table(hub):
    """Is taken to be of the family."""
    found = find("some/one", hub, quiet)
    assert found.model.read_bytes() == b"O" and found.entry.thresholds == {"general": 0.35, "character": 0.85}


def test_what_is_in_the_cache_needs_no_network(server, hub, tmp_path):
    """Offline, and where the hub does not answer any more."""
    found = find("wd-vit-tagger-v3", hub, quiet)
    assert find("wd-vit-tagger-v3", Hub(endpoint=server.url, cache=hub.cache, offline=True), quiet) == found
    assert find("wd-vit-tagger-v3", Hub(endpoint="http://127.0.0.1:9", cache=hub.cache), quiet) == found


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("cl-tagger-v2", {}, r"wants its terms accepted: .*https://huggingface.co/cella110n/cl_tagger_v2, then set `token`"),
        ("no/body", {}, r"no repository no/body, or shows it only with a token"),
        ("wd-swinv2-tagger-v3", {"offline": True}, r"is not in the cache and this is offline"),
        ("wd-swinv2-tagger-v3", {"endpoint": "http://127.0.0.1:9"}, r"is not in the cache and the hub does not answer: "),
    ],
)
def test_what_is_in_the_way_is_one_line(hub, monkeypatch, name, change, words):
    """A gated repository, one that is not there, no network wanted, no network."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the tries of the hub's client
    made = Hub(**{"endpoint": hub.endpoint, "cache": hub.cache, **change})
    with pytest.raises(NoWeights, match=words) as raised:
        find(name, made, quiet)
    assert "\n" not in str(raised.value)


def test_the_token_is_sent(server, hub):
    """A gated repository opens for who may."""
    with pytest.raises(NoWeights, match=r"cannot be downloaded|not in the cache|no repository"):
        find("cl-tagger-v2", Hub("good", endpoint=hub.endpoint, cache=hub.cache), quiet)  # past the gate this hub has nothing
    assert "Bearer good" in server.tokens


def test_a_missing_client_says_how_it_is_installed(hub, monkeypatch):
    """One line with the command."""
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pipx inject dropdock huggingface_hub"):
        find("wd-vit-tagger-v3", hub, quiet)


# ---------------------------------------------------------------- addresses


def test_an_address_is_downloaded_once(server, tmp_path):
    """A folder behind http, or the model in it; its names come along; a name of the table tells the rest."""
    server.plain = {"/plain/wd-vit-tagger-v3/model.onnx": b"M" * 5000, "/plain/wd-vit-tagger-v3/selected_tags.csv": b"name\n"}
    hub, told = Hub(cache=tmp_path / "c"), list[str]()
    for address in (f"{server.url}/plain/wd-vit-tagger-v3/", f"{server.url}/plain/wd-vit-tagger-v3/model.onnx"):
        found = find(address, hub, told.append)
        assert found.model.read_bytes() == b"M" * 5000 and found.entry == entries()["wd-vit-tagger-v3"]
        asked = len(server.asked)
        assert find(address, hub, quiet) == found and len(server.asked) == asked
    assert "downloading wd-vit-tagger-v3: model.onnx 100 %" in told


def test_an_address_offline_or_wrong_says_so(server, tmp_path):
    """Nothing is left behind."""
    hub = Hub(cache=tmp_path / "c")
    with pytest.raises(NoWeights, match=r"answers 404"):
        find(f"{server.url}/plain/x", hub, quiet)
    with pytest.raises(NoWeights, match=r"cannot be downloaded: "):
        find("http://127.0.0.1:9/x", hub, quiet)
    with pytest.raises(NoWeights, match=r"was never downloaded and this is offline"):
        find(f"{server.url}/plain/x", Hub(cache=tmp_path / "c", offline=True), quiet)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_page_is_not_kept_as_a_model(server, tmp_path):
    """An address that gives a page instead of the file: it says so, and the next time it is asked again."""
    server.plain = {"/plain/t/selected_tags.csv": b"name\n", "/plain/t/model.onnx": b"<!doctype html><title>Sign in</title>"}
    hub = Hub(cache=tmp_path / "c")
    with pytest.raises(NoWeights, match=r"^what http.*/model\.onnx gives is a web page: "):
        find(f"{server.url}/plain/t", hub, quiet)
    server.plain["/plain/t/model.onnx"] = b"real"
    assert find(f"{server.url}/plain/t", hub, quiet).model.read_bytes() == b"real"


def test_a_download_is_whole_or_not_there(server, tmp_path):
    """One that breaks off, and one larger than may be taken, leave nothing; one that is whole is renamed into place."""
    server.plain = {"/plain/a": b"x" * 1000}
    percents: list[int] = []
    download(f"{server.url}/plain/a", tmp_path / "a", percents.append)
    assert (tmp_path / "a").read_bytes() == b"x" * 1000 and percents == [100]
    with pytest.raises(NoWeights, match="has 1,000 bytes and 10 are"):
        download(f"{server.url}/plain/a", tmp_path / "b", percents.append, most=10)
    server.lie = 5
    with pytest.raises(NoWeights, match=r"broke off after|cannot be downloaded"):
        download(f"{server.url}/plain/a", tmp_path / "c", percents.append)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# ---------------------------------------------------------------- folders and the table


def test_a_folder_says_what_is_missing(tmp_path):
    """The model or the names; any one .onnx will do."""
    with pytest.raises(NoWeights, match=r"holds no model\.onnx"):
        in_folder(tmp_path)
    (tmp_path / "other.onnx").write_bytes(b"any")
    with pytest.raises(NoWeights, match=r"holds no names of tags"):
        in_folder(tmp_path)
    (tmp_path / "tags.json").write_text("{}")
    found = find(str(tmp_path), Hub(), quiet)
    assert (found.model.name, found.labels.name) == ("other.onnx", "tags.json")


def test_a_folder_may_describe_itself(tmp_path):
    """In the table's own keys, or as the animetimm models do; else by its name; else as the family."""
    (tmp_path / "wd-swinv2-tagger-v3").mkdir()
    assert described(tmp_path / "wd-swinv2-tagger-v3").generation == 3
    assert described(tmp_path / "x").shape.layout == "nhwc" and described(tmp_path / "x", nchw=True).shape.order == "rgb"
    steps = [{"type": "resize", "size": [384, 384]}, {"type": "normalize", "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}]
    (tmp_path / "preprocess.json").write_text(json.dumps({"test": steps}))
    assert (described(tmp_path).shape.side, described(tmp_path).shape.mean) == (384, (0.1, 0.2, 0.3))
    (tmp_path / "dropdock.yaml").write_text("{side: 99, thresholds: {general: 0.1}, activation: sigmoid}")
    assert (described(tmp_path).shape.side, described(tmp_path).thresholds) == (99, {"general": 0.1})
    for text in ("[1]", "{side: x}", "{mean: [1]}", "{thresholds: 3}", "{"):
        (tmp_path / "dropdock.yaml").write_text(text)
        with pytest.raises(NoSuchTagger):
            described(tmp_path)


def test_a_name_that_is_nowhere_lists_those_that_are():
    """So that a typo can be seen."""
    with pytest.raises(NoSuchTagger, match=r"there is no tagger wd-vit: .*wd-vit-tagger-v3"):
        find("wd-vit", Hub(), quiet)


def test_the_table_is_whole():
    """Every entry has a repository, a model, names, a licence and words that the code knows."""
    assert len(entries()) >= 15
    for name, known in entries().items():
        assert known.name == name and "/" in known.repo and known.files[0].endswith(".onnx") and known.labels and known.licence
        assert (known.shape.layout, known.shape.order) in {("nhwc", "bgr"), ("nchw", "bgr"), ("nchw", "rgb")}
        assert known.shape.fit in ("pad", "stretch") and known.shape.resample in ("bicubic", "bilinear", "lanczos")
        assert known.activation in ("none", "sigmoid", "auto") and all(0 < t < 1 for t in known.thresholds.values())
    with pytest.raises(NoSuchTagger, match="expected three numbers"):
        entry("x", {"std": [1, 2]})
