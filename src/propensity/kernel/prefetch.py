"""Prefetch: a hint to the processor that an array element will be read soon, which hides the latency of memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 64  # bytes of a cache line


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Prefetches `array[index]` of a one-dimensional array, `index` in range, without waiting for it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, bits = signature.args[0], ir.IntType(32)
        view = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]], wraparound=False)
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        shape = ir.FunctionType(ir.VoidType(), [place.type, bits, bits, bits])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [place.type], shape)
        builder.call(hint, [place, bits(0), bits(3), bits(1)])  # for reading, into all levels of the data cache
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


prefetch: Any = intrinsic(_prefetch)
