"""Runs whose inputs or results lie at addresses: on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from loopsr import UsageError
from loopsr.apps.batch import inputs, near, remote_record
from loopsr.apps.batch.jobs import Job, is_folder, plan_jobs
from loopsr.apps.batch.names import DEFAULT, parse_template
from loopsr.apps.batch.record import Content, Entry, Origin
from loopsr.apps.batch.run import Outcome
from loopsr.apps.batch.settings import Size
from loopsr.io import remote

from .conftest import Run, contents, photo


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def objects(folder: str) -> dict[str, bytes]:
    system = fsspec.filesystem("s3", use_listings_cache=False)
    found = remote.list_files(folder)
    return {name.removeprefix(f"{folder}/"): system.cat_file(name) for name in found}


@pytest.fixture
def sent(jobs: list[Job], bucket: str, tmp_path: Path) -> list[Job]:
    """The jobs, their pictures in the bucket, their results too."""
    made = []
    for job in jobs:
        remote.send(Path(job.source), f"{bucket}/in/{job.key}")
        made.append(Job(f"{bucket}/in/{job.key}", f"{bucket}/out/{job.key}", job.key))
    return made


@pytest.fixture
def no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files; look into it afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_results_are_those_of_a_local_run(
    do: Run, jobs: list[Job], sent: list[Job], bucket: str, tmp_path: Path, no_temporary: Path
) -> None:
    assert statuses(do(jobs)) == ["written"] * 6
    local = contents(tmp_path / "out")
    outcomes = do(sent, folder=f"{bucket}/out", lanes=3)
    assert statuses(outcomes) == ["written"] * 6
    assert objects(f"{bucket}/out") == local
    assert [outcome.result["target"] for outcome in outcomes] == [job.target for job in sent]
    assert [outcome.result["source"] for outcome in outcomes] == [job.source for job in sent]
    assert not list(no_temporary.iterdir())
    # From the store to this machine, and the other way round.
    mixed = [Job(s.source, str(tmp_path / "here" / s.key), s.key) for s in sent]
    assert statuses(do(mixed, folder=tmp_path / "here")) == ["written"] * 6
    assert contents(tmp_path / "here") == local
    mixed = [Job(j.source, f"{bucket}/up/{j.key}", j.key) for j in jobs]
    assert statuses(do(mixed, folder=f"{bucket}/up")) == ["written"] * 6
    assert objects(f"{bucket}/up") == local


@pytest.mark.parametrize("where", ["store to store", "store to here", "here to store"])
def test_the_next_run_goes_on(
    do: Run,
    jobs: list[Job],
    sent: list[Job],
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    folder: str | Path = tmp_path / "out" if where.endswith("here") else f"{bucket}/out"
    sources = jobs if where.startswith("here") else sent
    work = [Job(s.source, f"{folder}/{s.key}", s.key) for s in sources]
    assert statuses(do(work[:4], folder=folder)) == ["written"] * 4
    uploads: list[str] = []
    send = remote.send

    def counted(source: Path, address: str, *, note: str = "") -> None:
        uploads.append(address)
        send(source, address, note=note)

    monkeypatch.setattr(remote, "send", counted)
    outcomes = do(work, folder=folder)
    assert statuses(outcomes) == ["kept"] * 4 + ["written"] * 2
    assert len(uploads) == (0 if where.endswith("here") else 2)
    assert outcomes[0].result["width"] == 48
    assert outcomes[0].result["target"] == work[0].target


def test_a_result_is_kept_only_if_it_is_proved_to_be_the_very_one(
    do: Run, sent: list[Job], bucket: str, tmp_path: Path
) -> None:
    folder = f"{bucket}/out"
    assert statuses(do(sent, folder=folder)) == ["written"] * 6
    replaced, changed, gone = sent[0], sent[1], sent[2]
    # Other bytes of the same length under the result's name; its source changed; no result.
    other = bytearray(objects(folder)[replaced.key])
    other[-20] ^= 1
    (tmp_path / "x").write_bytes(other)
    remote.send(tmp_path / "x", replaced.target)
    remote.send(photo(tmp_path / "y.jpg", 31, 21, seed=9), changed.source)
    fsspec.filesystem("s3", use_listings_cache=False).rm(gone.target)
    outcomes = do(sent, folder=folder)
    assert statuses(outcomes) == ["failed", "failed", "written", "kept", "kept", "kept"]
    assert "the file exists" in outcomes[0].error
    assert "before its source was changed" in outcomes[1].error
    assert statuses(do(sent[:2], folder=folder, collision="skip")) == ["skipped"] * 2
    assert statuses(do(sent[:2], folder=folder, collision="overwrite")) == ["written"] * 2
    assert statuses(do(sent, folder=folder)) == ["kept"] * 6


def test_one_bad_object_does_not_stop_the_rest(
    do: Run, sent: list[Job], bucket: str, tmp_path: Path, no_temporary: Path
) -> None:
    (tmp_path / "half.png").write_bytes(Path(photo(tmp_path / "p.png")).read_bytes()[:200])
    remote.send(tmp_path / "half.png", sent[0].source)
    missing = Job(f"{bucket}/in/none.png", f"{bucket}/out/none.png", "none.png")
    closed = Job(sent[2].source, "s3://no-such-bucket/a.webp")
    outcomes = do([sent[0], missing, closed, *sent[3:]], folder=f"{bucket}/out")
    assert statuses(outcomes) == ["failed"] * 3 + ["written"] * 3
    for outcome in outcomes[:3]:
        assert outcome.error.startswith((outcome.job.source, outcome.job.target, "p0.png"))
        assert str(no_temporary) not in outcome.error
    assert set(objects(f"{bucket}/out")) == {job.key for job in sent[3:]}
    assert not list(no_temporary.iterdir())


def test_a_local_run_reads_no_address_and_the_other_way_round(
    do: Run, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder on this machine that is called like the bucket: two pictures of two sizes."""
    monkeypatch.chdir(tmp_path)
    name = bucket.removeprefix("s3://")
    photo(tmp_path / "s3:" / name / "a.png", 10, 10)
    remote.send(photo(tmp_path / "b.png", 20, 20), f"{bucket}/a.png")
    local = do([Job(f"./s3://{name}/a.png", "one.png")], folder=None)
    far = do([Job(f"s3://{name}/a.png", "two.png")], folder=None)
    assert (local[0].result["width"], far[0].result["width"]) == (20, 40)


def test_inputs_at_addresses(bucket: str, tmp_path: Path) -> None:
    picture = photo(tmp_path / "x.png")
    for name in ("a.png", "sub/b c.jpg", "sub/.hidden/d.png", "sub/notes.txt", "out/e.png"):
        remote.send(picture, f"{bucket}/in/{name}")

    def found(*names: str, output: str | None = None) -> list[tuple[str, str]]:
        sources = inputs.find_inputs(names, recursive=True, output=output).sources
        return [(s.path.removeprefix(f"{bucket}/in/"), s.below) for s in sources]

    tree = [("a.png", ""), ("out/e.png", "out"), ("sub/b c.jpg", "sub")]
    assert found(f"{bucket}/in") == found(f"{bucket}/in/") == tree
    assert found(f"{bucket}/in", output=f"{bucket}/in/out") == [tree[0], tree[2]]
    assert found(f"{bucket}/in/**/*.jpg") == [tree[2]]
    assert found(f"{bucket}/in/a.png") == [("a.png", "")]
    assert inputs.find_inputs([f"{bucket}/in"], recursive=True).left_out == 1
    (tmp_path / "list.txt").write_text(f"{bucket}/in/a.png\n{picture}\n")
    listed = inputs.find_inputs([f"@{tmp_path}/list.txt"])
    assert [s.path for s in listed.sources] == [f"{bucket}/in/a.png", str(picture)]
    assert listed.plain
    assert not inputs.find_inputs([f"{bucket}/in/a.png", f"file://{picture}"]).plain
    for wrong in (f"{bucket}/in/*.gif", f"{bucket}/in/sub/*.txt"):
        with pytest.raises(UsageError):
            inputs.find_inputs([wrong])
    with pytest.raises(UsageError, match="another folder to -o"):
        found(f"{bucket}/in", output=f"{bucket}/in")


def test_a_name_in_a_bucket_does_not_lead_out_of_the_folder(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{bucket}/in/../../../evil.png", f"{bucket}/in/a//b.png", f"{bucket}/in/good.png"]
    monkeypatch.setattr(remote, "list_files", lambda folder: names)
    remote.send(photo(tmp_path / "x.png"), f"{bucket}/in/good.png")
    sources = inputs.find_inputs([f"{bucket}/in"], recursive=True).sources
    assert [source.path for source in sources] == [f"{bucket}/in/good.png"]
    # What the check is for: without it the result would lie elsewhere.
    template = parse_template(DEFAULT, Size(scale=4.0))
    evil = inputs.Source(names[0], "../../..")
    job = plan_jobs([evil], output=str(tmp_path), folder=True, template=template, format=None)[0]
    assert not Path(job.target).resolve().is_relative_to(tmp_path)


def test_names_of_results(bucket: str, tmp_path: Path) -> None:
    template = parse_template(DEFAULT, Size(scale=4.0))
    source = inputs.Source("s3://b/c d/a.jpg", "c d")
    beside = plan_jobs([source], output=None, folder=False, template=template, format=None)
    assert beside == [Job("s3://b/c d/a.jpg", "s3://b/c d/a_x4.jpg")]
    below = plan_jobs([source], output="gs://o/p/", folder=True, template=template, format="png")
    assert below == [Job("s3://b/c d/a.jpg", "gs://o/p/c d/a_x4.png", "c d/a_x4.png")]
    assert is_folder(f"{bucket}/x/", several=False)
    assert not is_folder(f"{bucket}/x", several=False)
    remote.send(photo(tmp_path / "x.png"), f"{bucket}/x/a.png")
    assert is_folder(f"{bucket}/x", several=False)


def test_results_at_an_address_are_not_renamed(do: Run, sent: list[Job], bucket: str) -> None:
    with pytest.raises(UsageError, match="--skip or --overwrite"):
        do(sent, folder=f"{bucket}/out", collision="rename")


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 300 + ".png", "nul\0.png"])
def test_awkward_names_stay_in_the_temporary_folder(name: str, tmp_path: Path) -> None:
    place = Path(near._place(tmp_path / "in", f"s3://bucket/{name}"))
    assert place.parent == tmp_path / "in"
    place.write_bytes(b"")
    assert place.suffix == (".png" if name.endswith(".png") else "")


ENTRY = Entry(
    key="a/ü.png",
    origin=Origin(path="/somewhere/ü.png", bytes=5, mtime_ns=7, sha256="e" * 64),
    settings="s" * 16,
    content=Content(bytes=9, sha256="f" * 64),
    result={"source": "/somewhere/ü.png", "target": "x", "width": 8, "model": "loop-x4"},
    cost=11,
    at=1.5,
    run="r",
)


def test_notes() -> None:
    note = remote_record.note_of(ENTRY)
    assert note.isascii()
    assert "somewhere" not in note  # of no use elsewhere, and nobody's business
    again = remote_record.entry_of(note, "a/ü.png")
    assert again is not None
    assert (again.key, again.settings, again.content) == (ENTRY.key, ENTRY.settings, ENTRY.content)
    assert again.result == {"width": 8, "model": "loop-x4"}
    for wrong in ("", "{}", "[]", "null", note[:-1], note.replace("origin", "xrigin"), "[" * 9999):
        assert remote_record.entry_of(wrong, "a") is None
    long = Entry(**{**vars(ENTRY), "result": {"model": "m" * 3000}})
    assert remote_record.note_of(long) == ""
