"""The schema of every command's configuration: types, defaults, and what each setting means.

`--help` prints the descriptions; the settings of parts (data, model, training, ...) are described in their YAML under
conf/. Nothing here needs Hydra: the same classes are the arguments of the library's functions.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from propensity.errors import ConfigurationError

MISSING: Any = "???"  # the word of OmegaConf for a value that must be given
LOCAL = {"_target_": "propensity.engine.local.LocalEngine"}
Part = dict[str, Any]  # a group of settings: a class as `_target_`, and its arguments
OPEN = ("optimizer", "scheduler", "trainer", "callbacks", "logger")  # groups of other libraries' classes


def setting(meaning: str, default: Any = MISSING) -> Any:
    """A field with its description; a mutable default is copied for each object."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.copy(default), metadata={"help": meaning})
    return field(default=default, metadata={"help": meaning})


@dataclass
class CommandConfig:
    plugins: list[str] = setting("packages of your own whose parts may be used, such as [mine]", [])


@dataclass
class PrepareConfig(CommandConfig):
    data: Part = setting("source, offers and cutoffs")
    out: str | None = setting("folder of the event log; null uses data/<source>", None)
    append: bool = setting("add the events, which must all be later, to the log at `out`", False)
    check: bool = setting("only report what would become of every row", False)
    shards: int | None = setting("divide the log by customer into so many shards; null: one folder of columns", None)
    engine: Part = setting("where ranges of customers are sorted and encoded", LOCAL)
    suggest: Any = setting("files or patterns of tables: write a draft of their mapping to conf/, and do no more", None)


@dataclass
class AppendConfig(CommandConfig):
    data: Part = setting("source of the delivery, and settings of the log")
    log: str = setting("folder of the event log")


@dataclass
class CompactConfig(CommandConfig):
    log: str = setting("folder of the event log")


@dataclass
class TrainConfig(CommandConfig):
    data: Part = setting("source, offers and cutoffs")
    model: Part = setting("network")
    loss: Part = setting("loss function")
    training: Part = setting("batches, averaging of weights, validation")
    optimizer: Part = setting("torch optimizer")
    scheduler: Part | None = setting("torch learning rate scheduler; null keeps the rate constant", None)
    trainer: Part = setting("Lightning's Trainer: any argument of its own")
    callbacks: Part = setting("Lightning callbacks: name -> class and arguments", {})
    logger: Part = setting("Lightning loggers: name -> class and arguments", {})
    metrics: list[Any] = setting("metrics of your own beside the built-in ones: [{_target_: mine.brier}]", [])
    out: str = setting("folder of the run")
    seed: int = setting("seed of every random stream of the run", 17)
    champion: str = setting("served model: auto (chosen by validation), stack, network or one of the baselines", "auto")
    baseline: Part = setting("baselines by name")
    baselines: list[str] | None = setting("names of the baselines to fit; null fits all, [] none", None)
    objective: str | None = setting("metric that a job of a sweep returns; null: val/log_loss, or train/loss", None)
    warm: str | None = setting("folder of an earlier run whose weights the training starts from; null: random", None)
    pretrained: str | None = setting("folder of propensity pretrain whose encoder the training starts from", None)
    frozen: bool = setting("keep the pretrained encoder as it is; false tunes it with the rest of the network", False)


@dataclass
class PretrainConfig(CommandConfig):
    data: Part = setting("source, offers and the end of the data")
    model: Part = setting("network, whose encoder and width are used")
    optimizer: Part = setting("torch optimizer")
    scheduler: Part | None = setting("torch learning rate scheduler; null keeps the rate constant", None)
    trainer: Part = setting("Lightning's Trainer: any argument of its own")
    next_period: float = setting("weight of the offers bought within 1, 2 and 4 weeks", 1.0)
    next_visit: float = setting("weight of the time to the next purchase", 0.1)
    masked_basket: float = setting("weight of the offers of a day that is left out of the history", 1.0)
    contrastive: float = setting("weight of which two slices are of the same customer (CoLES)", 0.0)
    steps: int = setting("optimizer steps", 1_000)
    batch: int = setting("customers in a batch", 128)
    queries: int = setting("days of each history from which the next offers and the next purchase are predicted", 8)
    held_out: float = setting("share of the customers, by a hash of their ids, on whom the losses are measured", 0.05)
    threads: int | None = setting("torch CPU threads; null uses torch's default", 1)
    prefetch_threads: int | None = setting("threads that compute batches ahead; null: one for each free CPU", None)
    out: str = setting("folder of the encoder and the embeddings")
    seed: int = setting("seed of every random stream", 17)


@dataclass
class EvaluateConfig(CommandConfig):
    run: str = setting("folder of a trained run")
    cutoffs: list[str] | None = setting("cutoffs as ISO dates; null: the last label windows after training", None)
    requests: str | None = setting("table of requests to evaluate on: customer_id, cutoff, perhaps offer_id", None)
    baseline: Part = setting("baselines by name")
    baselines: list[str] | None = setting("names of the baselines to fit; null fits all, [] none", None)
    decay: str | None = setting(
        "stored lift decay that the page shows if it fits the run", "experiments/lift_decay.json"
    )
    heuristics: bool = setting("compare the network with the six-month rule and K-means segments", True)
    also: Any = setting("scores of other models: {name: file.parquet}", None)
    metrics: list[Any] = setting("metrics of your own beside the built-in ones: [{_target_: mine.brier}]", [])
    reliance: int = setting("customers whose scores are explained, to show what the model relies on; 0: none", 100)
    resamples: int = setting("bootstrap resamples of customers; 0 gives no intervals", 200)
    seed: int = setting("seed of the bootstrap and the baselines", 17)
    engine: Part = setting("where parts of the customers are scored", LOCAL)


@dataclass
class BacktestConfig(TrainConfig):
    cutoffs: list[str] | None = setting(
        "cutoffs as ISO dates; one model is trained for each; null: the last three label windows", None
    )
    folds: int | None = setting("instead of cutoffs: their number, `step` days apart, up to the end of the log", None)
    step: int = setting("days between the cutoffs of `folds`", 28)
    ages: list[int] = setting("weeks by which networks are left to age, to measure the lift decay", [])
    engine: Part = setting("where the folds are trained", LOCAL)
    heuristics: bool = setting("compare the network with the six-month rule and K-means segments", True)
    resamples: int = setting("bootstrap resamples of customers; 0 gives no intervals", 200)


@dataclass
class CompareConfig(TrainConfig):
    cutoffs: list[str] | None = setting(
        "cutoffs as ISO dates; every variant is trained for each; null: the last three label windows", None
    )
    variants: Part = setting("{name: [settings]}, two or more; the first is compared with each of the others", {})
    seeds: list[int] = setting("seeds of the trainings whose predictions are averaged", [17])
    resamples: int = setting("bootstrap resamples of customers; 0 gives no intervals", 200)


@dataclass
class LogConfig:
    verify: bool = setting("compare the event log with its checksums before it is used", True)


@dataclass
class ExportConfig(CommandConfig):
    run: str = setting("folder of a trained run")
    out: str = setting("folder of the bundle")
    formats: list[str] = setting("onnx, torch_export or both", ["onnx", "torch_export"])
    log: str | None = setting("folder of the event log; null uses the run's own", None)
    cutoff: str | None = setting("date of the bundled tables; null uses the end of training", None)
    rows: int = setting(
        "rows of real customers, one for each customer and cutoff, on which the formats must agree", 10_000
    )
    valid_days: int = setting("days after the end of training up to which the bundle scores", 180)
    data: LogConfig = field(default_factory=LogConfig)


@dataclass
class ScoreConfig(CommandConfig):
    run: str | None = setting("folder of a trained run; or", None)
    bundle: str | None = setting("folder of an exported bundle", None)
    digest: str | None = setting("digest of the bundle as `export` printed it; null accepts any", None)
    cutoff: str | None = setting("cutoff as an ISO date, such as 2017-12-04; or", None)
    requests: str | None = setting("table of requests: customer_id, cutoff and perhaps offer_id", None)
    out: str | None = setting("file of a run's scores or folder of a bundle's; null: scores.parquet or scores", None)
    log: str | None = setting("folder of the event log; null uses the run's own", None)
    top: int | None = setting("keep the best customers of each offer, this many", None)
    top_per_customer: int | None = setting("keep the best offers of each customer, this many", None)
    offers: str | None = setting("YAML file of offers, also new ones: name -> filter or list of item ids", None)
    horizons: list[int] | None = setting("days of several horizons, such as [7,14,28]; null: the trained one", None)
    reasons: int | None = setting("reasons to give for each score that top or top_per_customer keeps", None)
    part: int = setting("customers in a file", 16_384)
    threads: int = setting("blocks scored at the same time", 2)
    engine: Part = setting("where parts of the customers are scored", LOCAL)
    data: LogConfig = field(default_factory=LogConfig)


@dataclass
class ServeConfig(CommandConfig):
    bundle: str = setting("folder of an exported bundle")
    log: str | None = setting("folder of the event log; null serves the tables in the bundle", None)
    digest: str | None = setting("digest of the bundle as `export` printed it; null accepts any", None)
    host: str = setting("address to listen on", "127.0.0.1")
    port: int = setting("port to listen on", 8000)
    tokens: str | None = setting(
        "YAML file of bearer tokens, or off for no authentication; null: $PROPENSITY_TOKENS, which must be set", None
    )
    workers: int = setting("processes that serve", 1)
    max_waiting: int = setting("customers that may wait in a process; further requests get status 429", 256)
    max_connections: int = setting("open connections of a process", 1024)
    read_timeout: float = setting("seconds for a request to arrive, and for a client to take a response", 10.0)
    idle_timeout: float = setting("seconds until a connection without a request is closed", 15.0)
    refresh: float = setting("seconds between looks for a new bundle, log or file of tokens", 2.0)
    audit_interval: float = setting("seconds between lines of the audit log on who scored how many customers", 3600.0)
    values: str | None = setting("folder of `propensity clv`, served as POST /value; null serves no values", None)
    data: LogConfig = field(default_factory=LogConfig)


@dataclass
class DriftConfig(CommandConfig):
    bundle: str = setting("folder of an exported bundle")
    cutoff: str = setting("cutoff as an ISO date, such as 2018-01-02")
    out: str = setting("page to write", "drift.html")
    log: str | None = setting("folder of the event log; null uses the run's own", None)
    customers: int = setting("customers to compare at most, chosen by a hash of their ids", 20_000)
    inputs: float = setting(
        "population stability index above which a column has drifted; 0.1 is a change to watch", 0.25
    )
    share: float = setting("share of the columns that may drift", 0.1)
    scores: float = setting("population stability index that the scores may reach", 0.25)
    calibration: float = setting("ratio of expected to observed purchases that is allowed, either way", 1.5)


@dataclass
class KpiConfig(CommandConfig):
    log: str = setting("folder of the event log")
    cutoff: str = setting("date as an ISO date, such as 2017-10-16; nothing of that day or later is used")
    out: str = setting("folder of the figures, tables and page", "kpi")
    clv: Any = setting("file or folder that `propensity clv` wrote, or several: predicted against realised value", None)
    churn: Any = setting("file or folder that `propensity churn` wrote, or several: precision and recall", None)
    scores: str | None = setting("table of scores of a run: expected against realised revenue", None)
    run: str | None = setting("folder of a trained run: days since training and drift of the customers", None)
    segments: str | None = setting("table with customer_id and segment, such as of decision=segment", None)
    cohort: str = setting("period of cohorts: week, month, quarter or year; auto: by the length of the log", "auto")
    window: int | None = setting("days of a tier window; null: 364, or half of a log of less than two years", None)
    tiers: list[float] = setting("where the tiers high, middle and low begin, as shares of customers", [0.1, 0.3, 0.6])
    margin: float | None = setting("share of revenue that is earned, for LTV; null: margin of lines, or revenue", None)
    acquisition_cost: str | None = setting("column of the customers' table; null: acquired_cost where it is", None)
    satisfaction: list[str] | None = setting("columns of the customers' table; null: those called nps or csat", None)
    data: LogConfig = field(default_factory=LogConfig)


@dataclass
class StatesConfig(CommandConfig):
    run: str = setting("folder of a trained run")
    cutoff: str = setting("cutoff as an ISO date, such as 2017-12-04")
    out: str = setting("table to write", "states.parquet")


@dataclass
class TuneConfig(TrainConfig):
    trials: int = setting("trials in all; a search in `out` continues where it stopped", 20)
    metric: str = setting("metric of the validation windows, one if training.validation is null", "val/log_loss")
    space: Part = setting("{setting or group: {choices: [...]} or {low: ..., high: ..., log: true}}", {})


@dataclass
class CanaryConfig:
    canary: Any = setting(
        "true adds a column made from the future, to test the leakage check; or its block, such as pair or customer",
        False,
    )
    name: str = setting("name of the added column", "canary")


@dataclass
class GateConfig(CommandConfig):
    run: str = setting("folder of a trained run")
    checks: list[str] = setting(
        "checks to make",
        ["finite", "deterministic", "no_leak", "beats_baseline", "calibrated", "no_better_baseline"],
    )
    evaluate: CanaryConfig = field(default_factory=CanaryConfig)
    against: str = setting("baseline to beat", "frequency")
    metric: str = setting("metric to beat it by", "revenue_lift")
    calibration: list[float] = setting(
        "limits that the interval of expected over observed purchases and revenue must meet", [0.8, 1.25]
    )  # a season alone moves totals by up to a fifth
    not_behind: list[str] = setting(
        "metrics in which no other model may be better", ["log_loss", "auc", "normalised_revenue_capture"]
    )
    highest_auc: float = setting("AUC of a single column above which it is suspect", 0.98)
    seed: int = setting("seed of the shuffled future", 17)


@dataclass
class ReproduceConfig(CommandConfig):
    run: str = setting("folder of a trained run")
    tolerance: float = setting("allowed difference of metrics for a run trained on a GPU; on a CPU it is 0", 0.005)


@dataclass
class CustomerConfig(CommandConfig):
    customer: str = setting("id as in your own tables")
    log: str = setting("folder of the event log")
    runs: str = setting("folder of trained networks and scores", "runs")
    pseudonym: str | None = setting("file:<path> or env:<name> of the key that the log's ids are hashed with", None)
    folders: list[str] = setting("further folders with scores and send lists, which are searched too", [])


@dataclass
class ForgetConfig(CustomerConfig):
    lift: bool = setting("lift the tombstone of the customer instead, so that later deliveries are accepted", False)


@dataclass
class RotateKeyConfig(CommandConfig):
    log: str = setting("folder of the event log")
    pseudonym: str = setting("file:<path> or env:<name> of the key that the log's ids are hashed with")
    new_pseudonym: str = setting("file:<path> or env:<name> of the new key")
    runs: str = setting("folder of trained networks and scores, with the audit log", "runs")


@dataclass
class AuditConfig(CommandConfig):
    runs: str = setting("folder with audit.jsonl, or the file; $PROPENSITY_AUDIT comes first", "runs")
    digest: str | None = setting("digest that an earlier call printed; the log must have had it", None)


@dataclass
class ExportCustomerConfig(CustomerConfig):
    out: str = setting("file to write", "customer.json")


@dataclass
class DecideConfig(CommandConfig):
    decision: Part = setting("kind of decision")
    scores: str = setting("table that `evaluate` or `score` wrote, or the folder of a bundle's scores")
    out: str = setting("folder of the result, or a send list: a file that ends in .csv or .parquet")
    offers: list[str] = setting("offers, each with a decision of its own in the folder `out`; [all]: all products", [])
    attributes: list[str] = setting("columns of the customers' table or log that a send list holds", [])
    cutoff: str | None = setting("which cutoff of the table; null uses the last", None)
    customers: str | None = setting(
        "attributes and consents beside those of the log; null uses customers.parquet beside the scores", None
    )
    contacts: str | None = setting("messages already promised: customer_id, day and, if known, channel", None)
    log: str | None = setting(
        "folder of the event log, with consents; null uses that of the run the scores lie in", None
    )
    reasons: int | None = setting("reasons in words for each customer and offer of a list, this many; null: none", None)
    reasons_from: str | None = setting("run or bundle that gives reasons; null: the folder of the scores", None)
    objective: str = setting(
        "predicted; discovery: a least share of never-bought or lapsed; incremental: by the uplift of an experiment",
        "predicted",
    )
    discovery: float = setting("least share of messages to never-bought or lapsed customers, with discovery", 0.3)
    uplift: str | None = setting("folder that `ab uplift` wrote, with incremental", None)
    arms: str | None = setting("table that `ab split` wrote; holdouts get no message", None)
    seed: int = setting("seed of hashes that break ties", 17)


@dataclass
class ClvConfig(CommandConfig):
    log: str = setting("folder of the event log")
    cutoff: str = setting("cutoff as an ISO date, such as 2017-12-04")
    out: str = setting("folder of the result", "clv")
    weeks: list[int] = setting("lengths of the windows after the cutoff, in weeks", [13, 26, 39, 52, 104])
    margin: float = setting("share of revenue that is margin", 1.0)
    discount: float = setting("yearly rate at which later margin counts for less", 0.1)
    false_alarms: float = setting("share of staying customers who have an alarm within 13 weeks", 0.1)
    seed: int = setting("seed of samples, trees and network", 17)
    models: list[str] = setting("learners that the last closed window chooses from: trees, network", ["trees"])


@dataclass
class ChurnConfig(CommandConfig):
    log: str = setting("folder of the event log")
    cutoff: str = setting("cutoff as an ISO date, such as 2017-12-04")
    weeks: int = setting("weeks without an order that are churn", 13)
    out: str = setting("folder of the result", "churn")
    false_alarms: float = setting("share of staying customers who have an alarm within 13 weeks", 0.1)
    seed: int = setting("seed of samples, trees and network", 17)
    models: list[str] = setting("learners that the last closed window chooses from: trees, network", ["trees"])


@dataclass
class VerifyConfig(CommandConfig):
    log: str | None = setting("folder of an event log", None)
    run: str | None = setting("folder of a run, or of scores, values, churn or key figures", None)
    bundle: str | None = setting("folder of an exported bundle", None)


@dataclass
class ExplainConfig(CommandConfig):
    run: str | None = setting("folder of a trained run; or", None)
    bundle: str | None = setting("folder of an exported bundle", None)
    cutoff: str = setting("cutoff as an ISO date, such as 2017-12-04")
    log: str | None = setting("folder of the event log; null uses the run's own", None)
    customer: Any = setting("id of a customer; null: only what the model relies on", None)
    offer: str | None = setting("offer to explain; null: the one with the customer's highest score", None)
    reasons: int = setting("reasons in words, at most", 5)
    customers: int = setting("customers whose scores are explained, to measure what the model relies on; 0: none", 100)
    out: str = setting("file of what the model relies on", "reliance.json")
    seed: int = setting("seed of the sample of customers and of the bootstrap", 17)


@dataclass
class InitConfig(CommandConfig):
    out: str = setting("folder to make; it must be empty or absent")


@dataclass
class NightlyConfig(CommandConfig):
    shop: str = setting("settings of the nightly run, a YAML file; propensity nightly shop.yaml is short", "shop.yaml")
    date: str | None = setting("first day that the scores are about, as an ISO date; null: today", None)
    progress: str = setting("text, or json for a JSON object in each line on stderr", "text")


@dataclass
class RegistryConfig(CommandConfig):
    shop: str = setting("settings of the nightly run, a YAML file", "shop.yaml")
    date: str | None = setting("date in the history as an ISO date; null: today", None)


@dataclass
class RegistryListConfig(CommandConfig):
    shop: str = setting("settings of the nightly run, a YAML file", "shop.yaml")


@dataclass
class RegistryPromoteConfig(RegistryConfig):
    name: str = setting("name of the model to make live; propensity registry promote <name> is short")


@dataclass
class TableConfig:
    path: str | None = setting(
        "table with one row per customer, .parquet or .csv; data=... is short for it; null: log and cutoff", None
    )


@dataclass
class AbConfig(CommandConfig):
    data: TableConfig = field(default_factory=TableConfig)
    log: str | None = setting("folder of an event log that holds the outcomes, instead of data", None)
    cutoff: str | None = setting("day of the send as an ISO date, with log", None)
    horizon: int = setting("days after the cutoff in which outcomes count, with log", 14)
    arms: str | None = setting("table that `ab split` wrote, with log; null: who got a message on the cutoff", None)
    arm: str = setting("column of the arm that was drawn", "arm")
    control: Any = setting("arm that the others are compared with; null: holdout, with arms", None)
    outcomes: list[str] = setting(
        "columns measured after the send; with log: of visit, orders, revenue, margin, unsubscribe", []
    )
    covariates: list[str] = setting("columns measured before the arm was drawn", [])
    before: list[str] = setting("outcomes of the time before the send, as placebo", [])
    customer: str | None = setting("column of the customer's id; null: every row is a customer", None)
    probability: str | None = setting("column of the probability of the row's own arm", None)
    shares: Part = setting("designed share of each arm; without it and probability equal shares are assumed", {})
    experiments: str | None = setting("column of the experiment's name", None)
    name: str | None = setting("which experiment of the table", None)
    sent: str | None = setting("column of the day of the send", None)
    happened: str | None = setting("column of the day of the outcome", None)
    out: str = setting("folder of the result")


@dataclass
class MessagesConfig(AbConfig):
    run: str | None = setting("folder of the run that scores the messages", None)
    messages: str | None = setting(
        "table of messages instead of customers: customer_id, offer_id, cutoff, arm, probability", None
    )


@dataclass
class AnalyseConfig(MessagesConfig):
    power: float = setting("power of the minimum detectable effect", 0.8)
    alpha: float = setting("probability of any false claim", 0.05)
    relevant: float = setting("smallest effect that matters, as a share of the control's mean", 0.1)
    planned: int | None = setting(
        "customers at the planned end of an experiment that is looked at before; intervals hold at every look", None
    )
    lower_is_better: list[str] = setting("outcomes such as unsubscribes", [])
    factors: list[str] = setting(
        "columns of the factors of a test, such as depth, framing and channel, which name the arms", []
    )


@dataclass
class UpliftConfig(MessagesConfig):
    at: str | None = setting("cutoff at which all pairs of the messages' offers get their uplift, with messages", None)
    learners: list[str] | None = setting("of s, t, x, dr and head; null: s, t, x, dr, with messages x, dr", None)
    regressor: str | None = setting(
        "ridge, gcv (penalty by cross-validation), ard (a penalty for each covariate), lightgbm, or blend; null: "
        "ridge, with messages ard",
        None,
    )
    folds: int = setting("folds of the cross-fit", 5)
    orderings: int = setting("random orderings of the test", 2000)
    resamples: int = setting("bootstrap resamples of the interval", 200)
    seed: int = setting("seed of folds, trees, orderings and bootstrap", 17)


@dataclass
class PolicyConfig(MessagesConfig):
    cost: Part = setting("cost of each arm for a customer, or of a message", {})
    regressor: str | None = setting(
        "ridge, gcv (penalty by cross-validation), ard (a penalty for each covariate), lightgbm, or blend; null: "
        "ridge, with messages gcv",
        None,
    )
    folds: int = setting("folds of the cross-fit", 5)
    seed: int = setting("seed of folds and trees", 17)


@dataclass
class FatigueConfig(AbConfig):
    messages: str | None = setting(
        "column of the number of messages that a customer got, for arms with different numbers; with log it is counted",
        None,
    )
    window: int = setting("days before a contact in which messages count, for contacts that were drawn one by one", 28)


@dataclass
class LearnConfig(UpliftConfig):
    campaign: str = setting("name of the experiment, or the folder of the decision that was sent")
    sent: str | None = setting(
        "table of what was sent, whose contacts enter the log; null: that of the folder, or the log has them", None
    )
    champion: str | None = setting("folder of the ranking in use, as `ab uplift` or `ab learn` wrote it", None)


@dataclass
class DesignConfig(CommandConfig):
    log: str = setting("folder of the event log")
    cutoff: str = setting("day of the send as an ISO date; outcomes of the days before it are read")
    outcome: str = setting("of visit, orders, revenue, margin and unsubscribe", "revenue")
    horizon: int = setting("days after the send in which the outcome counts", 14)
    arms: Part = setting("share of each arm outside the global holdout", {"treatment": 0.9, "holdout": 0.1})
    control: Any = setting("arm that the others are compared with", "holdout")
    factors: Part = setting("factor: levels of a factorial test, whose cells share the share of treatment", {})
    global_holdout: float = setting("share of customers that no experiment contacts, .01 to .1, or 0", 0.05)
    relevant: float = setting("smallest effect that matters, as a share of the mean", 0.05)
    power: float = setting("probability of finding an effect as large as the MDE", 0.8)
    alpha: float = setting("probability of any false claim", 0.05)
    scores: str | None = setting("scores of a run at cutoff - horizon, one more covariate", None)
    margin: float = setting("share of the revenue that is earned", 0.3)
    cost: float = setting("money per message", 0.02)
    out: str = setting("folder of the result", "design")


@dataclass
class SplitConfig(CommandConfig):
    customers: str = setting("table with customer_id and the columns of the strata, .parquet or .csv")
    name: str = setting("of the experiment; it salts the hash")
    arms: Part = setting(
        "share of each arm outside the global holdout; they sum to 1", {"treatment": 0.9, "holdout": 0.1}
    )
    factors: Part = setting("factor: levels of a factorial test, whose cells share the share of treatment", {})
    global_holdout: float = setting("share of customers that no experiment contacts, .01 to .1, or 0", 0.05)
    strata: list[str] = setting("columns within which the arms are balanced, such as value and risk", [])
    earlier: str | None = setting("earlier table of the same experiment, whose customers keep their arms", None)
    out: str = setting("table to write", "arms.parquet")


COMMANDS: dict[str, type[CommandConfig]] = {
    "prepare": PrepareConfig,
    "append": AppendConfig,
    "compact": CompactConfig,
    "train": TrainConfig,
    "pretrain": PretrainConfig,
    "evaluate": EvaluateConfig,
    "backtest": BacktestConfig,
    "compare": CompareConfig,
    "tune": TuneConfig,
    "score": ScoreConfig,
    "states": StatesConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
    "drift": DriftConfig,
    "kpi": KpiConfig,
    "decide": DecideConfig,
    "explain": ExplainConfig,
    "gate": GateConfig,
    "reproduce": ReproduceConfig,
    "forget": ForgetConfig,
    "rotate_key": RotateKeyConfig,
    "audit": AuditConfig,
    "export_customer": ExportCustomerConfig,
    "init": InitConfig,
    "verify": VerifyConfig,
    "nightly": NightlyConfig,
    "registry_list": RegistryListConfig,
    "registry_promote": RegistryPromoteConfig,
    "registry_rollback": RegistryConfig,
    "clv": ClvConfig,
    "churn": ChurnConfig,
    "ab_analyse": AnalyseConfig,
    "ab_uplift": UpliftConfig,
    "ab_policy": PolicyConfig,
    "ab_split": SplitConfig,
    "ab_design": DesignConfig,
    "ab_learn": LearnConfig,
    "ab_fatigue": FatigueConfig,
}


def training_config(config: TrainConfig) -> TrainConfig:
    """The part of a command's configuration that describes one training."""
    return TrainConfig(**{each.name: copy.deepcopy(getattr(config, each.name)) for each in fields(TrainConfig)})


def conf_folder() -> Path:
    """The folder of our YAML: $PROPENSITY_CONF, else beside this file (a wheel) or above it (a checkout)."""
    return _folder("conf", os.environ.get("PROPENSITY_CONF"))


def scripts_folder() -> Path:
    """The folder with a file for every command, beside this file (a wheel) or above it (a checkout)."""
    return _folder("scripts")


def _folder(name: str, chosen: str | None = None) -> Path:
    above = (parent / name for parent in Path(__file__).resolve().parents[:3])
    folder = Path(chosen).resolve() if chosen else next((path for path in above if path.is_dir()), None)
    if folder is None or not folder.is_dir():
        raise ConfigurationError(
            f"no folder of YAML at {chosen or f'{name}/'}; set PROPENSITY_CONF to the repository's conf/"
        )
    return folder
