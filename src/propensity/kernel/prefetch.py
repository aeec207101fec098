"""A hint to the processor that an element will be read soon: to read customers in no order is to wait for memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 64  # bytes that come together


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Asks for `array[index]`, `index` in range, of a one-dimensional array, and does not wait for it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, bits = signature.args[0], ir.IntType(32)
        made = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, kind, made, [arguments[1]], wraparound=False)
        place = builder.bitcast(place, ir.IntType(8).as_pointer())
        shape = ir.FunctionType(ir.VoidType(), [place.type, bits, bits, bits])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [place.type], shape)
        builder.call(hint, [place, bits(0), bits(3), bits(1)])  # to be read, and kept in all caches, of data
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


prefetch: Any = intrinsic(_prefetch)
