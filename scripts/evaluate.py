"""Evaluates a run and the baselines at later cutoffs: `propensity evaluate --help`."""

from propensity.command import entry
from propensity.config import EvaluateConfig


@entry("evaluate")
def main(cfg: EvaluateConfig) -> None:
    from propensity.evaluation.evaluate import evaluate_run
    from propensity.evaluation.on_requests import evaluate_on_requests, on_requests
    from propensity.report.document import write_documents
    from propensity.report.markdown import write_report
    from propensity.report.table import show_metrics, show_request_metrics, working

    if on_requests(cfg):
        with working("evaluating", "evaluate", cfg.run) as say:
            result = evaluate_on_requests(cfg, say)
        return show_request_metrics(result, cfg.run)
    with working("evaluating", "evaluate", cfg.run) as say:
        metrics = evaluate_run(cfg, say)
        say("writing the report")
        write_report(metrics, cfg.run)
        write_documents(metrics, cfg.run)
    show_metrics(metrics, cfg.run)


if __name__ == "__main__":
    main()
