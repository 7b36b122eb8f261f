"""The request handler: carries out what `tune.stop`, `tune.clone` and `tune.propose` ask for."""

import time
from collections.abc import Callable
from dataclasses import replace

from analysis.labels import label_params
from trainable.trial import ConfigError, TrialConfig
from tune.folder.requests import ANSWER, FOLDER, Answer, Request, answer, read_requests
from tune.folder.resume_command import spell_resume
from tune.search.budget import Budget
from tune.search.clones import bring_adapter, is_inside, spell_clone
from tune.search.search import Search
from tune.search.table import Closing
from tune.search.trials import ENDED, name_trial

LOOK_S = 1.0


class Paused(Exception):
    """The sweep ends now: what its trials did since their last milestone is lost."""

    def __init__(self, why: str, code: int = 0) -> None:
        super().__init__(why)
        self.code = code  # the command's exit code


class RequestHandler:
    """`refuse`: why the sweep's workers cannot carry out a config; None: they can."""

    def __init__(self, search: Search, budget: Budget) -> None:
        self.search, self.budget = search, budget
        self.refuse: Callable[[TrialConfig], str | None] = lambda config: None
        self.is_heard = False  # whether somebody waits for an answer
        self.is_announced = False
        self.next_s = 0.0

    def open(self) -> None:
        """Before anything runs: takes in what was asked while no driver ran. A request to stop is
        none for this driver."""
        for stale in (self.search.recorder.folder / FOLDER).glob(f"*{ANSWER}.json"):
            stale.unlink(missing_ok=True)
        for request in read_requests(self.search.recorder.folder):
            if request.verb != "stop":
                self.carry_out(request)
            else:
                self._answer(request, False, "the driver had ended")
        self.is_heard = True
        self.budget.look()

    def look(self) -> list[str]:
        """At most once a second: carries out requests, and looks at the budget. The trials whose
        workers are to end at once. Raises Paused, StorageFault."""
        if time.monotonic() < self.next_s:
            return []
        self.next_s = time.monotonic() + LOOK_S
        stopped: list[str] = []
        for request in read_requests(self.search.recorder.folder):
            stopped += self.carry_out(request)
        self.budget.look()
        if self.search.closing and not self.is_announced:
            self.is_announced = True
            self.search.recorder.record_note(
                f"{self.search.closing.why}: nothing new is started, what runs pauses at its next "
                "milestone"
            )
        return stopped

    def carry_out(self, request: Request) -> list[str]:
        """The trials it stopped while they ran."""
        try:
            if not request.verb:
                raise ConfigError(f"{FOLDER}/{request.id}.json is no request of this version's")
            if request.verb in ("clone", "propose"):
                make = self._clone if request.verb == "clone" else self._take
                trial, text = make(request)
                self._answer(request, True, text, trial)
                return []
            if request.values["trial"] is not None:
                return self._stop_trial(request)
            self._stop_sweep(request)
        except ConfigError as error:
            self._answer(request, False, str(error))
        return []

    def _stop_sweep(self, request: Request) -> None:
        name, closing = self.search.config.name, Closing(why="stopped by request")
        if request.values["now"]:
            command = spell_resume(self.search.config.folder, self.search.config.objective)
            self._answer(request, True, f"{name} ends now: go on with {command}")
            raise Paused(closing.why)
        self.search.closing = self.search.closing or closing
        n = len(self.search.running)
        self._answer(
            request, True, f"{name} ends once its {n} running trials have reached a milestone"
        )

    def _stop_trial(self, request: Request) -> list[str]:
        trial = self.search.trials.get(request.values["trial"])
        if trial is None:
            raise ConfigError(f"{self.search.config.name} has no trial {request.values['trial']}")
        was_running = trial.state == "RUNNING"
        if trial.state in ENDED:
            self._answer(request, False, f"trial {trial.id} has ended already: {trial.state}")
            return []
        self.search.stop(trial.id)
        self._answer(request, True, f"trial {trial.id} is stopped ({trial.reason})")
        return [trial.id] if was_running else []

    def _clone(self, request: Request) -> tuple[str, str]:
        """The trial, and what became of it. A request that was carried out by a driver that died
        before it could say so is known by its id."""
        search, values = self.search, request.values
        known = (t for t in search.trials.values() if (t.origin or {}).get("request") == request.id)
        if (made := next(known, None)) is not None:
            return made.id, f"trial {made.id} is the clone"
        original = search.trials.get(values["trial"])
        if original is None or original.number < 0:
            raise ConfigError(f"{search.config.name} has no trial {values['trial']} to clone")
        config = spell_clone(original.config, values["set"], values["warm"], search.config)
        self._check(config, warm=values["warm"])
        in_study = not values["warm"] and is_inside(config, search.space, search.config.base)
        params = {**search.space.to_point(config), **({} if in_study else values["set"])}
        if values["warm"]:
            name = name_trial(search.next_number)
            folder = search.recorder.folder
            place = bring_adapter(folder, original.id, original.config, name, config)
            config = replace(config, adapter=str(place.relative_to(folder)))
            params["adapter"] = f"of {original.id}"
        origin = {**values, "in_study": in_study, "request": request.id}
        clone = search.clone(params, config, origin)
        study = "" if in_study else "; it lies outside the space: the study does not learn from it"
        return clone.id, f"trial {clone.id} is the clone of {original.id}{study}"

    def _take(self, request: Request) -> tuple[str, str]:
        """As `_clone`, for a point that somebody proposes."""
        search, values = self.search, request.values
        known = (t for t in search.trials.values() if t.proposal)
        made = next((t for t in known if t.proposal["request"] == request.id), None)  # type: ignore[index]
        if made is None:
            made = search.take(values["set"], {"why": values["why"], "request": request.id})
        return made.id, f"trial {made.id} is proposed: {label_params(made.params)}"

    def _check(self, config: TrialConfig, warm: bool) -> None:
        """Raises ConfigError where the clone would repeat a trial, or nobody can carry it out."""
        twin = next((t for t in self.search.searched if t.config == config and not warm), None)
        if twin is not None:
            raise ConfigError(f"trial {twin.id} has just these settings: choose others (--set)")
        if why := self.refuse(config):
            raise ConfigError(
                f"the sweep's workers cannot carry out this clone ({why}): start a sweep for it"
            )

    def _answer(self, request: Request, done: bool, text: str, trial: str | None = None) -> None:
        told = Answer(done=done, text=text, trial=trial)
        answer(self.search.recorder.folder, request, told)
        if not self.is_heard:
            self.search.recorder.say(text)
            self.search.recorder.record_note(text)
