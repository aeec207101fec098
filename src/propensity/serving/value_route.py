"""Requests for the values of customers."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import Response

from propensity.errors import ConfigurationError
from propensity.serving.error_response import errors, without_paths
from propensity.serving.exchange import Exchange
from propensity.serving.value_schema import (
    CustomerValueOrError,
    ManyValuesRequest,
    ManyValuesResponse,
    ValueRequest,
    ValueResponse,
)
from propensity.serving.value_table import ValueFolder


def add_values(app: FastAPI, exchange: Exchange, values: ValueFolder) -> None:
    """Add POST /value and POST /values.

    Parameters
    ----------
    app : FastAPI
        The service.
    exchange : Exchange
        Its scorer and log.
    values : ValueFolder
        Values of the customers in that log.
    """

    @app.post("/value", response_model=ValueResponse, responses=errors(400, 422))
    async def value(request: ValueRequest, http: Request) -> Response:
        """Probability of an order, expected orders, revenue and value of one customer, tier and early warning."""
        scorer = await exchange.current(by_id=True)
        table = await values.refresh(scorer)
        customer = table.of(request.customer_id, table.places(request.weeks), scorer)
        app.state.record.add(http.state.caller.name, scorer, 1)
        content = ValueResponse(cutoff=table.cutoff, currency=table.currency, customer=customer)
        return Response(content.model_dump_json(), media_type="application/json")

    @app.post("/values", response_model=ManyValuesResponse, responses=errors(400, 422))
    async def value_many(request: ManyValuesRequest, http: Request) -> Response:
        """The same for several customers. A customer without values has an error of its own."""
        scorer = await exchange.current(by_id=True)
        table = await values.refresh(scorer)
        places, customers = table.places(request.weeks), []
        for customer_id in request.customer_ids:
            try:
                customers.append(CustomerValueOrError(customer=table.of(customer_id, places, scorer)))
            except ConfigurationError as error:
                customers.append(CustomerValueOrError(error=without_paths(str(error))))
        failed = sum(each.error is not None for each in customers)
        app.state.record.add(http.state.caller.name, scorer, len(customers) - failed, failed)
        content = ManyValuesResponse(cutoff=table.cutoff, currency=table.currency, customers=customers)
        return Response(content.model_dump_json(), media_type="application/json")
