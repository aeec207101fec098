"""Type, range and allowed values of every setting, declared once and checked before anything is read.

`LIMITS` holds a `Limit` for each setting in conf/: those of the commands (`propensity.config`), of our parts and of
those of other libraries. A setting of our parts that is not there is checked against its annotation. A part of one's
own is checked by its own class.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from propensity.config import COMMANDS
from propensity.errors import ConfigurationError
from propensity.limit import (
    COUNT,
    Limit,
    anything,
    choice,
    day,
    either,
    flag,
    is_number,
    many,
    mapping,
    maybe,
    name,
    null,
    number,
    one_of,
    path,
    pattern,
    text,
    whole,
    zone,
)

DAYS = 36_500

GROUP = either(mapping(anything()), null())._replace(words="a group of settings or null")
PARTS_BY_NAME = either(mapping(GROUP), null())._replace(words="{name: group of settings} or null")
SHARE = number(0, 1)
SEED = whole(0, 2**32 - 1)
NAMES = many(text())
COLUMN = either(text(), many(text(), least=1), null())
METRICS = many(anything())
TABLE_SETTING = either(mapping(maybe(text())), null())

COMMAND: dict[str, Limit] = {"plugins": NAMES}
TRAIN: dict[str, Limit] = COMMAND | {
    **dict.fromkeys(("data", "model", "loss", "training", "optimizer", "scheduler", "trainer"), GROUP),
    **dict.fromkeys(("baseline", "callbacks", "logger"), PARTS_BY_NAME),
    "metrics": METRICS, "out": path(), "seed": SEED, "champion": text(), "baselines": maybe(NAMES),
    "objective": maybe(text()), "warm": maybe(path()), "pretrained": maybe(path()), "frozen": flag(),
}  # fmt: skip
CUSTOMER: dict[str, Limit] = COMMAND | {
    "customer": name(), "log": path(), "runs": path(), "pseudonym": maybe(text()), "folders": many(path()),
}  # fmt: skip
RESAMPLES = whole(0, 1_000_000)
AB: dict[str, Limit] = COMMAND | {
    "data": mapping(maybe(path())), "log": maybe(path()), "cutoff": maybe(day()), "horizon": whole(1, 3_650),
    "arms": maybe(path()), "arm": text(), "control": maybe(name()), "outcomes": NAMES, "covariates": NAMES,
    "before": NAMES, "customer": maybe(text()), "probability": maybe(text()), "shares": mapping(SHARE),
    "experiments": maybe(text()), "name": maybe(name()), "sent": maybe(text()), "happened": maybe(text()),
    "out": path(),
}  # fmt: skip
OPEN_SHARE = number(0, 1, above=True)
REGRESSOR = choice("ard", "blend", "gcv", "lightgbm", "ridge")
FOLDS = whole(2, 1_000)
FACTORS = mapping(many(anything(), least=2))
MESSAGES: dict[str, Limit] = AB | {"run": maybe(path()), "messages": maybe(path())}
UPLIFT: dict[str, Limit] = MESSAGES | {
    "at": maybe(day()), "learners": maybe(many(choice("s", "t", "x", "dr", "head"), least=1)),
    "regressor": maybe(REGRESSOR), "folds": FOLDS, "orderings": whole(20, 10**6), "resamples": RESAMPLES, "seed": SEED,
}  # fmt: skip
CUTOFFS = maybe(many(day(), least=1))
COMMANDS_LIMITS: dict[str, dict[str, Limit]] = {
    "PrepareConfig": COMMAND | {
        "data": GROUP, "out": maybe(path()), "append": flag(), "check": flag(),
        "shards": maybe(whole(1, 4_096)), "suggest": anything(), "engine": GROUP,
    },
    "AppendConfig": COMMAND | {"data": GROUP, "log": path()},
    "CompactConfig": COMMAND | {"log": path()},
    "TrainConfig": TRAIN,
    "PretrainConfig": COMMAND | {
        **dict.fromkeys(("data", "model", "optimizer", "scheduler", "trainer"), GROUP),
        **dict.fromkeys(("next_period", "next_visit", "masked_basket", "contrastive"), number(0, 1e6)),
        "steps": whole(1, 10**9), "batch": whole(2, 10**6), "queries": whole(1, 1_000), "held_out": number(0, 0.9),
        "threads": maybe(whole(1, 1_024)), "prefetch_threads": maybe(whole(0, 1_024)), "out": path(), "seed": SEED,
    },
    "EvaluateConfig": COMMAND | {
        "run": path(), "cutoffs": CUTOFFS, "requests": maybe(path()),
        "baseline": PARTS_BY_NAME, "baselines": maybe(NAMES), "decay": maybe(path()),
        "heuristics": flag(), "also": either(mapping(path()), null()), "metrics": METRICS, "resamples": RESAMPLES,
        "seed": SEED, "reliance": whole(0), "engine": GROUP,
    },
    "BacktestConfig": TRAIN | {
        "cutoffs": CUTOFFS, "folds": maybe(whole(1, 10_000)), "step": whole(1, DAYS), "ages": many(whole(0, 5_200)),
        "engine": GROUP,
        "heuristics": flag(), "resamples": RESAMPLES,
    },
    "CompareConfig": TRAIN | {
        "cutoffs": CUTOFFS, "variants": mapping(many(anything())), "seeds": many(SEED, least=1), "resamples": RESAMPLES,
    },
    "ExportConfig": COMMAND | {
        "run": path(), "out": path(), "formats": many(choice("onnx", "torch_export"), least=1), "log": maybe(path()),
        "cutoff": maybe(day()), "rows": whole(1), "valid_days": whole(1, DAYS), "data": GROUP,
    },
    "ScoreConfig": COMMAND | {
        "run": maybe(path()), "bundle": maybe(path()), "digest": maybe(text()), "cutoff": maybe(day()),
        "out": maybe(path()), "requests": maybe(path()), "log": maybe(path()),
        "top": maybe(whole(1)), "top_per_customer": maybe(whole(1)),
        "offers": maybe(path()), "horizons": maybe(many(whole(1, 365), least=1, most=50)),
        "reasons": maybe(whole(1, 1_000)), "part": whole(1, 10**8), "threads": whole(1, 1_024),
        "engine": GROUP, "data": GROUP,
    },
    "ServeConfig": COMMAND | {
        "bundle": path(), "log": maybe(path()), "digest": maybe(text()), "host": text(), "port": whole(0, 65_535),
        "tokens": either(maybe(path()), flag()), "workers": whole(1, 256), "max_waiting": whole(1, 10**6),
        "max_connections": whole(1, 10**6), "read_timeout": number(0.1, 3_600), "idle_timeout": number(0.1, 3_600),
        "refresh": number(0.1, 86_400), "audit_interval": number(0.1, 604_800), "values": maybe(path()),
        "data": GROUP,
    },
    "DriftConfig": COMMAND | {
        "bundle": path(), "cutoff": day(), "out": path(), "log": maybe(path()), "customers": whole(1),
        "inputs": number(0, 1_000, above=True), "share": SHARE, "scores": number(0, 1_000, above=True),
        "calibration": number(1, 1_000),
    },
    "KpiConfig": COMMAND | {
        "log": path(), "cutoff": day(), "out": path(), "scores": maybe(path()), "run": maybe(path()),
        "clv": either(path(), many(path(), least=1), null()), "churn": either(path(), many(path(), least=1), null()),
        "segments": maybe(path()), "cohort": choice("auto", "week", "month", "quarter", "year"),
        "window": maybe(whole(1, DAYS)), "tiers": many(SHARE, least=3, most=3), "margin": maybe(SHARE),
        "acquisition_cost": maybe(text()), "satisfaction": maybe(NAMES), "data": GROUP,
    },
    "StatesConfig": COMMAND | {"run": path(), "cutoff": day(), "out": path()},
    "TuneConfig": TRAIN | {"trials": whole(1, 10**6), "metric": text(), "space": GROUP},
    "CanaryConfig": {"canary": either(flag(), text()), "name": text()},
    "GateConfig": COMMAND | {
        "run": path(), "checks": NAMES, "evaluate": GROUP, "against": text(), "metric": text(),
        "calibration": many(number(0, 1_000), least=2, most=2), "not_behind": NAMES, "highest_auc": SHARE, "seed": SEED,
    },
    "ReproduceConfig": COMMAND | {"run": path(), "tolerance": SHARE},
    "ForgetConfig": CUSTOMER | {"lift": flag()},
    "RotateKeyConfig": COMMAND | {"log": path(), "pseudonym": text(), "new_pseudonym": text(), "runs": path()},
    "AuditConfig": COMMAND | {"runs": path(), "digest": maybe(text())},
    "ExportCustomerConfig": CUSTOMER | {"out": path()},
    "DecideConfig": COMMAND | {
        "decision": GROUP, "scores": path(), "out": path(), "cutoff": maybe(day()), "customers": maybe(path()),
        "contacts": maybe(path()), "log": maybe(path()), "seed": SEED, "reasons": maybe(whole(1, 1_000)),
        "attributes": NAMES, "offers": NAMES,
        "reasons_from": maybe(path()), "objective": choice("predicted", "discovery", "incremental"),
        "discovery": SHARE, "uplift": maybe(path()), "arms": maybe(path()),
    },
    "ExplainConfig": COMMAND | {
        "run": maybe(path()), "bundle": maybe(path()), "cutoff": day(), "log": maybe(path()), "customer": maybe(name()),
        "offer": maybe(name()), "reasons": whole(1, 1_000), "customers": whole(0), "out": path(), "seed": SEED,
    },
    "VerifyConfig": COMMAND | dict.fromkeys(("log", "run", "bundle"), maybe(path())),
    "ClvConfig": COMMAND | {
        "log": path(), "cutoff": day(), "out": path(), "weeks": many(whole(1, 1_040), least=1, most=520),
        "margin": SHARE, "discount": number(0, 10), "false_alarms": number(0, 0.9, above=True), "seed": SEED,
        "models": many(choice("trees", "network"), least=1, most=2),
    },
    "ChurnConfig": COMMAND | {
        "log": path(), "cutoff": day(), "out": path(), "weeks": whole(1, 1_040),
        "false_alarms": number(0, 0.9, above=True), "seed": SEED,
        "models": many(choice("trees", "network"), least=1, most=2),
    },
    "NightlyConfig": COMMAND | {"shop": path(), "date": maybe(day()), "progress": choice("text", "json")},
    "RegistryListConfig": COMMAND | {"shop": path()},
    "RegistryConfig": COMMAND | {"shop": path(), "date": maybe(day())},
    "RegistryPromoteConfig": COMMAND | {"shop": path(), "date": maybe(day()), "name": name()},
    "LogConfig": {"verify": flag()},
    "InitConfig": COMMAND | {"out": path()},
    "AnalyseConfig": MESSAGES | {
        "power": number(0.01, 0.999), "alpha": number(1e-6, 0.5), "relevant": number(0, 1_000),
        "planned": maybe(whole(1)), "lower_is_better": NAMES, "factors": NAMES,
    },
    "UpliftConfig": UPLIFT,
    "LearnConfig": UPLIFT | {"campaign": text(), "champion": maybe(path()), "sent": maybe(path())},
    "FatigueConfig": AB | {"messages": maybe(text()), "window": whole(1, 364)},
    "PolicyConfig": MESSAGES | {
        "cost": mapping(number(0, 1e9)), "regressor": maybe(REGRESSOR), "folds": FOLDS, "seed": SEED,
    },
    "DesignConfig": COMMAND | {
        "log": path(), "cutoff": day(), "outcome": text(), "horizon": whole(1, 364), "arms": mapping(OPEN_SHARE),
        "control": name(), "global_holdout": number(0, 0.1), "relevant": number(0, 1_000, above=True),
        "power": number(0.01, 0.999), "alpha": number(1e-6, 0.5), "scores": maybe(path()), "margin": number(0, 1),
        "cost": number(0, 1e9), "out": path(), "factors": FACTORS,
    },
    "SplitConfig": COMMAND | {
        "customers": path(), "name": name(), "arms": mapping(OPEN_SHARE), "global_holdout": number(0, 0.1),
        "strata": NAMES, "earlier": maybe(path()), "out": path(), "factors": FACTORS,
    },
}  # fmt: skip

MONEY = number(0, 1e9)
MARGIN = number(0, 1)
CONSENT = {"ignore_consent": flag()}
OFFERED = CONSENT | {"not_products": maybe(many(anything()))}
CAPS = {"day": whole(0, 1_000), "week": whole(0, 10_000), "rolling": flag()}
CAMPAIGNS = maybe(many(anything()))
TRIGGERS = either(path(), many(anything()), null())
CAPACITY = either(mapping(whole(0)), null())
TOKENS = choice("items", "baskets")
PARTS: dict[str, dict[str, Limit]] = {
    "LocalEngine": {},
    "RayEngine": {"address": maybe(text()), "workers": maybe(whole(1, 1_024)), "retries": whole(0, 1_000)},
    "Task": {
        "source": GROUP, "offer": GROUP, "cutoff": GROUP, "weight": GROUP, "history_mask": GROUP, "feature": GROUP,
        "market_stats": GROUP, "log": maybe(path()), "pseudonym": maybe(text()), "horizon": whole(1, 3_650),
        "end": maybe(day()), "verify": flag(), "keep": maybe(whole(1)), "requests": maybe(path()), "catalogue": GROUP,
        "registrants": maybe(flag()), "max_segments": whole(0, 10_000),
    },
    "CatalogueConfig": {
        **dict.fromkeys(("popular", "partners", "per_group", "memory"), whole(0, 10**6)),
        **dict.fromkeys(("strongest", "negatives", "pairs", "trees", "min_child_samples", "batch"), whole(1, 10**9)),
        **dict.fromkeys(("members", "epochs"), whole(1, 1_000)),
        "half_life": number(0, 1e6, above=True), "num_leaves": whole(2, 131_072),
        "learning_rate": number(0, 1, above=True), "lr": number(0, 1, above=True), "dropout": number(0, 0.99),
        "weight_decay": number(0, 1e6), "hidden": many(whole(1, 65_536), least=1),
        "validation": number(0, 0.99, above=True),
    },
    "FeatureConfig": {
        "windows": many(whole(1, DAYS), least=1, most=100), "half_lives": many(number(0, DAYS, above=True), most=100),
        "history": whole(1, 100_000), "groups": NAMES, "attributes": NAMES, "group_rates": NAMES, "text": NAMES,
        "extra": many(anything()),
    },
    "MarketStatsConfig": {
        "references": whole(1, 1_000), "step": whole(1, DAYS), "sample": whole(1), "shrink": number(0, 1e9),
        "ridge_similar": many(number(0, 1e9, above=True), least=2, most=2),
        "ridge_follow": many(number(0, 1e9, above=True), least=2, most=2),
        "neighbours": whole(0), "neighbour_categories": whole(0), "shrink_group": number(0, 1e9, above=True),
    },
    "TrainingCutoffs": {
        "step": whole(1, DAYS), "count": whole(1, 100_000), "minimum_history": maybe(whole(0, DAYS)),
    },
    "ColumnOffers": {
        "column": maybe(text()), "min_buyers": whole(0), "window": whole(1, DAYS), "parent": maybe(text()),
        "prefix": maybe(whole(1, 1_000)),
    },
    "FilterOffers": {"filters": mapping(text()), "min_buyers": whole(0), "window": whole(1, DAYS)},
    "RandomHistoryMask": {
        **dict.fromkeys(("offer", "recent", "everything", "launched"), SHARE),
        "shortest": whole(0, DAYS), "longest": whole(0, DAYS),
    },
    "NoHistoryMask": {},
    "Even": {},
    "HalfLife": {
        "days": number(0, 1e6, above=True), "rhythm": maybe(number(0, 1e6, above=True)),
        "shortest": number(0, 1e6, above=True), "longest": number(0, 1e6, above=True),
    },
    "Table": {
        "folder": maybe(path()), "events": path(), "columns": mapping(COLUMN), "rename": mapping(text()),
        "joins": many(mapping(anything())),
        "revenue_is": maybe(choice("net", "total", "gross", "unit", "net_unit")),
        "discount_is": maybe(choice("amount", "percent", "fraction")),
        "order_discount_is": choice("further", "total"), "cost_is": choice("total", "unit"),
        "refund_is": choice("net", "gross"),
        "header_once": maybe(flag()), "day_format": maybe(text()), "timezone": maybe(zone()), "times_in": maybe(zone()),
        "decimal": maybe(choice(".", ",")), "rates": mapping(number(0, 1e12, above=True)), "currency": maybe(text()),
        "scale": either(number(0, 1e12, above=True), mapping(number(0, 1e12, above=True))),
        "kinds": mapping(text()), "cancelled": maybe(pattern()), "leave_out": mapping(many(anything())),
        "not_products": maybe(many(anything())), "most_units": maybe(number(0, 1e12, above=True)),
        "most_orders": maybe(number(0, 1e12, above=True)), "earliest": maybe(day()), "latest": maybe(day()),
        "ids": choice("auto", "text", "number"), "fold_case": flag(), "item_identity": NAMES,
        "guest_ids": maybe(many(anything())), "guests": choice("popularity", "quarantine"),
        "corrections": choice("overlap", "always", "never"), "orphans": choice("quarantine", "keep"),
        "unknown_items": choice("keep", "quarantine"), "separator": maybe(text()), "header": maybe(flag()),
        "skip": maybe(whole(0, 10**6)), "quote": maybe(text()), "encoding": maybe(text()), "items": maybe(path()),
        "item_key": maybe(text()), "item_columns": NAMES, "customers": maybe(path()), "customer_key": maybe(text()),
        "customer_columns": NAMES,
        **dict.fromkeys(("identity_map", "consents", "contacts", "behaviour", "acquisition"), TABLE_SETTING),
    },
    "CompleteJourney": {"path": maybe(path()), "not_products": maybe(many(anything()))},
    "Synthetic": {
        "customers": whole(1, 10**9), "items": whole(1, 10**7), "categories": whole(1, 10**6), "days": whole(2, DAYS),
        "start": day(), "seed": SEED,
        **dict.fromkeys(("dormant_share", "new_share", "new_item_share", "messages", "returns"), SHARE),
        **dict.fromkeys(("order_effect", "season_strength", "message_effect", "views"), number(0, 1_000)),
        "basket": number(0.01, 1_000), "registrants": whole(0, 10**8), "folder": maybe(path()),
    },
    "OfferNet": {
        "members": whole(1, 64), "width": whole(1, 8_192), "customer_hidden": whole(1, 65_536),
        **dict.fromkeys(("dropout", "event_dropout", "basket_dropout"), number(0, 0.99)), "closed_gate": flag(),
        **dict.fromkeys(("encoder", "repeat", "explore", "visit", "season"), GROUP),
    },
    "Gru": {"layers": whole(1, 64)},
    "MeanPool": {"half_life": number(0, 1e6, above=True)},
    "Hstu": {
        "layers": whole(1, 64), "heads": whole(1, 256), "time": choice("log_age", "fourier", "rotary", "none"),
        "tokens": TOKENS, "dropout": number(0, 0.99),
    },
    "LinearRecurrence": {
        "layers": whole(1, 64), "time": choice("days", "events"), "tokens": TOKENS, "dropout": number(0, 0.99),
    },
    "TimeFilters": {
        "filters": whole(1, 8_192), "taps": whole(2, 64), "shortest": number(0, 1e6, above=True),
        "bottleneck": whole(1, 65_536), "tokens": choice("items", "baskets", "values"), "dropout": number(0, 0.99),
    },
    "Transformer": {"layers": whole(1, 64), "heads": whole(1, 256), "dropout": number(0, 0.99)},
    "ExploreDotProduct": {},
    "RepeatMLP": {"hidden": whole(1, 65_536), "dropout": number(0, 0.99)},
    "VisitMLP": {"hidden": whole(1, 65_536)},
    "Drift": {},
    "Fourier": {},
    "Multitask": dict.fromkeys(("visit", "value", "channel"), number(0, 1e6)),
    "Purchase": {},
    "TrainingConfig": {
        "pairs_per_batch": maybe(whole(1)), "length_bucketing": flag(), "log_on_device": flag(),
        "negative_rate": maybe(number(0, 1, above=True)), "averaging": maybe(number(0, 1e6)), "compile": flag(),
        "threads": maybe(whole(1, 1_024)), "cutoffs_per_batch": whole(1, 100_000),
        "prefetch_threads": maybe(whole(0, 1_024)),
        "validation": either(whole(1, 10_000), choice("auto"), many(day(), least=1), null()),
        "validation_pairs": maybe(whole(1)), "held_out": number(0, 0.9), "refit": flag(),
    },
    "Popularity": {},
    "Frequency": {"half_lives": many(number(0, DAYS, above=True))},
    "Logistic": {},
    "LightGBM": {
        "num_leaves": whole(2, 131_072), "min_child_samples": whole(1), "n_estimators": whole(1, 1_000_000),
        "learning_rate": number(0, 1, above=True), "rows": whole(1), "last_cutoffs": whole(1, 100_000),
    },
    "Audience": {
        "offer": maybe(name()), "by": maybe(choice("revenue", "probability", "margin")), "size": maybe(whole(0)),
        "share": maybe(SHARE), "minimum": maybe(number(-1e12)), "cost": maybe(MONEY), "margin": MARGIN,
        "channel": maybe(text()), "recent": maybe(whole(0, DAYS)), "where": maybe(text()), "spend_cv": number(0, 1_000),
        "stage": maybe(choice("onboarding", "second_purchase")),
    } | OFFERED,
    "Lookalike": {
        "seeds": maybe(path()), "states": maybe(path()), "size": maybe(whole(0)), "share": SHARE,
        "neighbours": whole(1, 10**6), "channel": maybe(text()), "where": maybe(text()), "ignore_consent": flag(),
    },
    "CampaignPlan": {
        "campaigns": CAMPAIGNS, "count": whole(1, 100_000), "mode": choice("audience", "volume"), "capacity": CAPACITY,
        "budget": maybe(number(0, 1e12)), "exclusive": many(many(name())), "margin": MARGIN, "cost": MONEY,
        "prices": flag(), "explore": SHARE, "triggers": TRIGGERS, "trigger_days": whole(1, 364),
    } | CAPS | OFFERED,
    "Allocate": {
        "clv": maybe(path()), "churn": maybe(path()), "weeks": maybe(whole(1, 5_200)), "plays": CAMPAIGNS,
        "risk": SHARE, "break_even": SHARE, "budget": maybe(number(0, 1e12)), "margin": MARGIN, "cost": MONEY,
        "prices": flag(),
    } | CAPS | CONSENT,
    "Channel": {
        "offers": maybe(many(name())), "count": whole(1, 100_000), "cost": maybe(mapping(MONEY)), "default_cost": MONEY,
        "margin": MARGIN, "learned": flag(), "customer_prior": number(0, 1e9), "offer_prior": number(0, 1e9),
    } | OFFERED,
    "NextBest": {
        "campaigns": CAMPAIGNS, "count": whole(1, 100_000), "days": whole(1, DAYS), "priority": maybe(many(name())),
        "daily_decay": number(0, 1, above=True), "margin": MARGIN, "cost": MONEY, "capacity": CAPACITY,
        "triggers": TRIGGERS,
    } | CAPS | OFFERED,
    "Opportunity": {
        "share": number(0, 1, above=True), "best_sellers": whole(1, 100_000), "niche": whole(0, 100_000),
        "category": maybe(text()), "groups": either(mapping(text()), null()),
    },
    "Overlap": {
        "offers": maybe(many(name(), least=2, most=2)), "share": number(0, 1, above=True), "margin": MARGIN,
        "cost": MONEY,
    } | OFFERED,
    "Segment": {
        "k": maybe(whole(1, 10_000)), "max_k": whole(1, 1_000), "restarts": whole(1, 10_000), "states": maybe(path()),
        "features": maybe(NAMES),
        "migration_days": whole(1, DAYS), "active_days": whole(1, DAYS), "min_agreement": number(-1, 1),
        "max_inertia_ratio": number(0, 1e6, above=True), "shares": either(mapping(text()), null()),
        "named": either(mapping(text()), null()),
    },
}  # fmt: skip

STEPS = either(whole(0), number(0, 1))  # a number of batches or a share
LIBRARIES: dict[str, dict[str, Limit]] = {
    "Trainer": {
        "max_epochs": maybe(whole(-1, 10**9)), "min_epochs": maybe(whole(0, 10**9)), "max_steps": whole(-1),
        "min_steps": maybe(whole(0)), "max_time": either(text(), mapping(whole(0)), null()),
        "accelerator": choice("cpu", "gpu", "cuda", "auto"),
        "devices": either(choice("auto"), whole(1, 4_096), one_of(-1), many(whole(0, 4_096), least=1)),
        "num_nodes": whole(1, 100_000),
        "strategy": choice("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_find_unused_parameters_true"),
        "precision": either(choice("32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "bf16"),
                            one_of(16, 32, 64)),
        "gradient_clip_val": maybe(number(0, 1e9)), "gradient_clip_algorithm": maybe(choice("norm", "value")),
        "accumulate_grad_batches": whole(1, 10**6), "check_val_every_n_epoch": maybe(whole(1, 10**6)),
        "val_check_interval": either(number(0, 1, above=True), whole(1), null()),
        "num_sanity_val_steps": whole(-1, 10**6),
        "limit_train_batches": maybe(STEPS), "limit_val_batches": maybe(STEPS), "log_every_n_steps": whole(0, 10**9),
        "overfit_batches": STEPS, "enable_progress_bar": flag(), "enable_model_summary": flag(),
        "enable_checkpointing": maybe(flag()), "deterministic": either(flag(), choice("warn"), null()),
        "benchmark": maybe(flag()), "inference_mode": flag(), "detect_anomaly": flag(), "barebones": flag(),
        "fast_dev_run": either(flag(), whole(0, 10**6)),
    },
    "AdamW": {
        "lr": number(0, 1_000, above=True), "weight_decay": number(0, 1_000), "fused": maybe(flag()),
        "betas": many(number(0, 0.999999), least=2, most=2), "eps": number(0, 1, above=True), "amsgrad": flag(),
    },
    "CosineAnnealingLR": {"eta_min": number(0, 1_000), "T_max": whole(1)},
    "OneCycleLR": {
        "pct_start": SHARE, "cycle_momentum": flag(), "div_factor": number(0, 1e12, above=True),
        "final_div_factor": number(0, 1e12, above=True), "anneal_strategy": choice("cos", "linear"),
        "max_lr": number(0, 1_000, above=True), "total_steps": whole(1),
    },
    "LinearLR": {
        "start_factor": number(0, 1, above=True), "end_factor": number(0, 1), "total_iters": whole(1),
    },
    "ModelCheckpoint": {"monitor": maybe(text()), "filename": maybe(text()), "save_top_k": whole(-1, 10**6)},
    "EarlyStopping": {"monitor": text(), "patience": whole(0, 10**9), "min_delta": number(-1e9, 1e9)},
    "LearningRateMonitor": {"logging_interval": maybe(choice("step", "epoch"))},
    "CSVLogger": {"name": maybe(text()), "version": either(whole(), text(), null())},
    "TensorBoardLogger": {"name": maybe(text()), "version": either(whole(), text(), null())},
    "MLFlowLogger": {"experiment_name": text(), "tracking_uri": maybe(text())},
    "WandbLogger": {"project": maybe(text()), "offline": flag()},
}  # fmt: skip
LIMITS = COMMANDS_LIMITS | PARTS | LIBRARIES
NESTED = {"evaluate": "CanaryConfig", "data": "LogConfig"}  # settings of commands that hold settings without a class
ORDERED = {  # pairs of settings of which the first may not be above the second
    "RandomHistoryMask": ("shortest", "longest"),
    "HalfLife": ("shortest", "longest"),
    "Trainer": ("min_epochs", "max_epochs"),
}
OWNED = ("propensity.", "lightning.", "torch.")  # packages whose classes the names in `LIMITS` mean


def check_values(command: str, settings: Mapping[str, Any]) -> None:
    """Check every setting of a command before anything is read.

    Parameters
    ----------
    command : str
        Name of the primary configuration, such as "train".
    settings : mapping
        Its configuration in plain containers.

    Raises
    ------
    ConfigurationError
        If a value is of the wrong kind or out of its range; the message names the setting and what it may be.
    """
    if command not in COMMANDS:
        return
    owner = COMMANDS[command].__name__
    for key, value, limit in _declared(settings, owner, ""):
        if value != "???" and (problem := limit.problem(value)) is not None:
            raise ConfigurationError(f"{key}={_shown(value)} is {problem}; give {limit.words}")
    _check_order(settings, "")


def _check_order(node: Any, prefix: str) -> None:
    """Check the pairs of `ORDERED`."""
    if not isinstance(node, Mapping):
        return
    low, high = ORDERED.get(str(node.get("_target_")).rsplit(".", 1)[-1], ("", ""))
    if is_number(node.get(low)) and is_number(node.get(high)) and 0 <= node[high] < node[low]:
        raise ConfigurationError(
            f"{prefix}{low}={node[low]} is above {prefix}{high}={node[high]}; give {low} up to {high}"
        )
    for key, child in node.items():
        _check_order(child, f"{prefix}{key}.")


def _declared(node: Mapping[str, Any], owner: str, prefix: str) -> Iterator[tuple[str, Any, Limit]]:
    """Settings with a limit below a node of a class: full key, value, limit."""
    limits = LIMITS.get(owner, {})
    for key, value in node.items():
        if key in limits:
            yield f"{prefix}{key}", value, limits[key]
        elif limits and (limit := _annotated(str(node.get("_target_")), key)) is not None:
            yield f"{prefix}{key}", value, limit
        yield from _parts(value, f"{prefix}{key}")


def _annotated(target: str, key: str) -> Limit | None:
    """The type of an argument of one of our classes, None where it has no plain one."""
    if not target.startswith("propensity.") or key.startswith("_"):
        return None
    owner: Any = pkgutil.resolve_name(target)
    hints = get_type_hints(owner) or get_type_hints(owner.__init__)
    plain = {int: whole(-COUNT), float: number(-1e12), str: text(), bool: flag()}
    hint = hints.get(key)
    if hint in plain:
        return plain[hint]
    inner = [each for each in get_args(hint) if each is not type(None)]
    return maybe(plain[inner[0]]) if len(inner) == 1 and inner[0] in plain and type(None) in get_args(hint) else None


def _parts(node: Any, key: str) -> Iterator[tuple[str, Any, Limit]]:
    """Settings of the classes below a node that does not belong to one itself."""
    if not isinstance(node, Mapping):
        return
    target = node.get("_target_")
    if isinstance(target, str) and target.startswith(OWNED):
        yield from _declared(node, target.rsplit(".", 1)[-1], f"{key}.")
        return
    if key in NESTED:
        yield from _declared(node, NESTED[key], f"{key}.")
        return
    for own, child in node.items():
        yield from _parts(child, f"{key}.{own}")


def _shown(value: Any) -> str:
    """A value, shortened to be read in a sentence."""
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    shown = " ".join(shown.replace("\0", "\\0").split())
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def undeclared(owner: type) -> list[str]:
    """Settings of a class that have no limit.

    Parameters
    ----------
    owner : type
        Class of a part or a command's configuration.

    Returns
    -------
    list of str
        Names of its arguments without an entry in `LIMITS`.
    """
    names = [each for each in inspect.signature(owner).parameters if not each.startswith("_")]
    return [each for each in names if each not in LIMITS.get(owner.__name__, {})]
