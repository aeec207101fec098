"""Exports all stored data on a customer: `propensity export-customer --help`."""

import json

from propensity.command import entry
from propensity.config import ExportCustomerConfig


@entry("export_customer")
def main(cfg: ExportCustomerConfig) -> None:
    from propensity.atomic import whole_file
    from propensity.ingest.erasure import export_customer

    data = export_customer(str(cfg.customer), cfg.log, cfg.runs, cfg.pseudonym, cfg.folders, cfg.out)
    with whole_file(cfg.out) as draft:
        draft.write_text(json.dumps(data, indent=1, default=str))
    rows = sum(map(len, data["tables"].values()))
    print(f"{cfg.out}: {len(data['events'])} events, {rows} rows of other tables, {len(data['models'])} models")
    print(f"searched: {', '.join(data['searched'])}")


if __name__ == "__main__":
    main()
