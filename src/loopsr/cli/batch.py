"""The jobs of one ``loopsr upscale``: planned, then forecast or done, and told."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from loopsr.apps.batch import forecast, inputs, names
from loopsr.apps.batch.jobs import STREAM, Job, is_folder, plan_jobs
from loopsr.apps.batch.kinds import is_video
from loopsr.apps.batch.resume import Collision
from loopsr.apps.batch.run import run
from loopsr.apps.batch.settings import Settings, VideoWishes, fingerprint
from loopsr.cli.interrupt import run_interruptible
from loopsr.cli.report import Report
from loopsr.errors import UsageError

if TYPE_CHECKING:
    from loopsr.engine.upscaler import Upscaler

Engine = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is to be done. ``folder`` is where the record is kept, None for single results."""

    jobs: list[Job]
    settings: Settings
    collision: Collision
    lanes: int | None
    folder: str | None
    left_out: int
    engine: Engine = "local"
    plain: bool = True  # whether some names are paths that need not be the same elsewhere

    @classmethod
    def plan(
        cls,
        arguments: Sequence[str],
        *,
        output: str | None,
        recursive: bool,
        template: str | None,
        settings: Settings,
        collision: Collision,
        lanes: int | None,
        engine: Engine = "local",
    ) -> Self:
        """Find the inputs and name the results. Raises ``UsageError``."""
        if engine == "ray" and output in (None, STREAM):
            raise UsageError("--engine ray needs a folder for the results; pass -o FOLDER/")
        if recursive and output in (None, STREAM):
            raise UsageError("-r needs a folder for the results; pass -o FOLDER")
        from loopsr.io.remote import is_shared, without_file_scheme

        plain = output is None or not is_shared(output)
        output = None if output is None else without_file_scheme(output)
        checked = names.parse_template(
            template or _default_name(settings), settings.size, settings.video.size
        )
        found = inputs.find_inputs(arguments, recursive=recursive, output=output)
        # On a cluster every result needs its record, so that a lost worker's can be told.
        several = recursive or found.folders or len(found.sources) > 1 or engine == "ray"
        folder = is_folder(output, several=several)
        if template is not None and output is not None and not folder:
            raise UsageError(f"--name and the file name {output} contradict; pass -o FOLDER/")
        jobs = plan_jobs(
            found.sources,
            output=output,
            folder=folder,
            template=checked,
            format=settings.format,
            preview=settings.video.preview is not None,
        )
        _check_videos(jobs, settings)
        return cls(
            jobs=jobs,
            settings=settings,
            collision=collision,
            lanes=lanes,
            folder=output if folder and several else None,
            left_out=found.left_out,
            engine=engine,
            plain=plain or found.plain,
        )

    def check_time_limit(self) -> None:
        """Raise ``UsageError`` where the time of a picture cannot be kept."""
        videos = [job.source for job in self.jobs if is_video(job.source)]
        if videos:
            raise UsageError(
                f"--time-limit is for pictures, {videos[0]} is a video; pass --quality fast for it"
            )
        if self.engine != "local" or (self.lanes or 1) > 1:
            raise UsageError(
                "--time-limit needs the machine for one picture at a time; "
                "leave out --jobs and --engine"
            )

    def check_model(self, model: str) -> None:
        """Raise ``UsageError`` where a result would replace the file of the network."""
        from loopsr.io.writer import same_file  # slow import: not for --help

        for job in self.jobs:
            if same_file(Path(job.target), Path(model)):
                raise UsageError(
                    f"{job.target} is the model; an input is never overwritten, pass another -o"
                )

    def check_show_steps(self) -> None:
        """Raise ``UsageError`` where there is no one picture to make a map of."""
        target = Path(self.settings.show_steps or "")
        if len(self.jobs) != 1 or self.engine != "local" or is_video(self.jobs[0].source):
            raise UsageError("--show-steps shows one picture; pass one, and no --engine")
        if target.suffix.lower() != ".png":
            raise UsageError(f"--show-steps writes a PNG, {target} is no such name; pass FILE.png")
        if not target.parent.is_dir():
            raise UsageError(f"{target}: there is no folder {target.parent}; make it first")
        from loopsr.io.writer import same_file  # slow import: not for --help

        if same_file(target, Path(self.jobs[0].source)):
            raise UsageError(
                f"--show-steps {target} is the input; an input is never overwritten, pass another "
                "name"
            )
        if target.exists() and self.collision != "overwrite":
            raise UsageError(f"{target}: the file exists; pass another name or --overwrite")

    def report(self, *, as_json: bool, verbosity: int) -> Report:
        """Whom the user hears of it from."""
        report = Report(
            total=len(self.jobs),
            as_json=as_json,
            verbosity=verbosity,
            stdout_taken=self.jobs[0].target == STREAM,
        )
        report.left_out(self.left_out)
        return report

    def run(self, upscaler: Upscaler, memory: int, report: Report) -> int:
        """Do the jobs and tell of each; gives the exit code."""

        def work(stop: threading.Event) -> int:
            outcomes = run(
                self.jobs,
                self.settings,
                upscaler,
                folder=self.folder,
                collision=self.collision,
                lanes=self.lanes,
                memory=memory,
                watch=report,
                stopped=stop.is_set,
            )
            for number, outcome in enumerate(outcomes):
                report.tell(number, outcome)
            return report.summary()

        return run_interruptible(work)

    def run_on_ray(
        self, upscaler: Upscaler, memory: int | None, report: Report, **options: Any
    ) -> int:
        """As ``run``, on a cluster. ``options`` are those of the upscaler."""
        from loopsr.apps.batch.ray_run import new_name, run_on_ray  # slow import: not for --help
        from loopsr.apps.batch.ray_worker import Duty

        assert self.folder is not None  # see plan
        threads = options.pop("threads")
        duty = Duty(
            settings=self.settings,
            fingerprint=fingerprint(self.settings, upscaler.identity()),
            collision=self.collision,
            folder=self.folder,
            run=new_name(),
            upscaler=options,
            threads=0,
            lanes=0,
            memory=memory,
        )

        def work(stop: threading.Event) -> int:
            outcomes = run_on_ray(
                self.jobs,
                duty,
                threads=threads,
                lanes=self.lanes,
                plain=self.plain,
                stopped=stop.is_set,
            )
            for number, outcome in enumerate(outcomes):
                report.tell(number, outcome)
            return report.summary()

        return run_interruptible(work)

    def forecast(self, upscaler: Upscaler, memory: int, report: Report) -> int:
        """Tell what would come of the jobs; gives the exit code."""
        if self.settings.video.preview is not None:
            raise UsageError("--dry-run has nothing to tell of a --preview; leave it out")
        expected, total = forecast.forecast(
            self.jobs,
            self.settings,
            upscaler,
            folder=self.folder,
            collision=self.collision,
            lanes=self.lanes,
            memory=memory,
        )
        for one in expected:
            report.forecast(one)
        return report.total(total)


def _default_name(settings: Settings) -> str:
    return names.PREVIEW if settings.video.preview is not None else names.DEFAULT


def _check_videos(jobs: Sequence[Job], settings: Settings) -> None:
    """Raise ``UsageError`` for wishes about videos where there are none."""
    wishes = settings.video
    plain = VideoWishes(size=wishes.size)
    if wishes != plain and not any(is_video(job.source) for job in jobs):
        raise UsageError(
            "--codec, --crf, --start, --duration and --preview are for videos, and no input is "
            "named as one; leave them out"
        )
    pictures = [job.source for job in jobs if not is_video(job.source)]
    if wishes.preview is not None and pictures:
        raise UsageError(f"--preview shows a frame of a video, {pictures[0]} is none; leave it out")


def check_streams(
    output: str | None, arguments: Sequence[str], *, as_json: bool, dry_run: bool
) -> None:
    """Raise ``UsageError`` for standard streams that cannot serve."""
    if dry_run and STREAM in (output, *arguments):
        raise UsageError("--dry-run cannot look at a stream without using it up; name a file")
    if output != STREAM:
        return
    if as_json:
        raise UsageError("stdout cannot take both the picture and --json; pass -o FILE")
    if sys.stdout.isatty():
        raise UsageError("a terminal cannot show a picture; pass -o FILE or pipe stdout on")
