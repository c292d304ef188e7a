"""The one way in which this library compiles a kernel: numba, without the interpreter lock, cached on disk.

Import modules that use this inside the function that needs them: importing numba takes half a second.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .kernelcache import share

F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F, **settings: Any) -> F:
    made = numba.njit(cache=True, nogil=True, error_model="numpy", **settings)(function)
    share(made)
    return cast(F, made)


def kernel(function: F) -> F:
    """Compile `function` at its first call; later processes read it from the cache.

    Floating point stays IEEE: no reordering, so that a kernel gives the same bits for an image whatever its batch.
    """
    return _compiled(function)


def inlined(function: F) -> F:
    """As `kernel`, and inlined by LLVM where it is called: for small functions inside loops over pixels."""
    return _compiled(function, forceinline=True)


def summing(function: F) -> F:
    """As `kernel`, but sums may run in the order that fills vector registers.

    The order is fixed when the kernel is compiled, so a row's sum is the same whatever its batch. What is not finite
    shows as ever.
    """
    return _compiled(function, fastmath={"reassoc", "contract", "nsz"})


_WORD, _INT, _DATA = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
_BODY = ir.FunctionType(ir.VoidType(), [_DATA])
_RUN = ir.FunctionType(ir.VoidType(), [_BODY.as_pointer(), _DATA, _INT, _INT])


@intrinsic
def _spread(typing_context, function, arguments, total, piece, team):  # type: ignore[no-untyped-def]
    wanted = (*map(types.unliteral, arguments.types), types.intp, types.intp)
    signature = function.get_call_type(typing_context, wanted, {})

    def build(context, builder, _signature, values):  # type: ignore[no-untyped-def]
        _, held, total, piece, team = values
        compiled = function.dispatcher.get_compile_result(signature)
        context.active_code_library.add_linking_library(compiled.library)
        state = ir.LiteralStructType([held.type, _WORD, _WORD, _WORD])  # arguments, total, piece, the next start
        body = ir.Function(builder.module, _BODY, name=builder.module.get_unique_name("pieces"))
        body.linkage = "internal"
        _build_body(context, body, state, compiled.fndesc, signature)
        for place, kind in enumerate(signature.args[: len(arguments)]):
            if isinstance(kind, types.Array):
                held = builder.insert_value(held, _borrowed(context, builder, kind, held, place), place)
        shared = cgutils.alloca_once(builder, state)  # type: ignore[no-untyped-call]
        for place, value in enumerate((held, total, piece, ir.Constant(_WORD, 0))):
            builder.store(value, _field(builder, shared, place))
        threads, address = (builder.extract_value(team, place) for place in range(2))
        run = builder.inttoptr(address, _RUN.as_pointer())
        data = builder.bitcast(shared, _DATA)
        several = builder.and_(
            builder.icmp_signed(">", threads, ir.Constant(_WORD, 1)), builder.icmp_signed(">", total, piece)
        )
        with builder.if_else(several) as (on_team, alone):
            with on_team:
                builder.call(run, [body, data, builder.trunc(threads, _INT), ir.Constant(_INT, 0)])
            with alone:
                builder.call(body, [data])
        return context.get_dummy_value()

    threads_and_address = types.UniTuple(types.intp, 2)  # type: ignore[no-untyped-call]
    return types.void(function, arguments, types.intp, types.intp, threads_and_address), build


def _borrowed(context: Any, builder: Any, kind: Any, held: Any, place: int) -> Any:
    """An array without its reference count, which all threads would have to share wherever a kernel takes a slice.

    The caller holds the array until every thread is done.
    """
    array = context.make_array(kind)(context, builder, value=builder.extract_value(held, place))
    array.meminfo = cgutils.get_null_value(array.meminfo.type)  # type: ignore[no-untyped-call]
    array.parent = cgutils.get_null_value(array.parent.type)  # type: ignore[no-untyped-call]
    return array._getvalue()


def _field(builder: Any, struct: Any, place: int) -> Any:
    return builder.gep(struct, [ir.Constant(_INT, 0), ir.Constant(_INT, place)])


def _build_body(context: Any, body: Any, state: Any, descriptor: Any, signature: Any) -> None:
    """What each thread does: take the next piece, until none is left."""
    builder = ir.IRBuilder(body.append_basic_block("entry"))
    shared = builder.bitcast(body.args[0], state.as_pointer())
    held, total, piece = (builder.load(_field(builder, shared, place)) for place in range(3))
    arguments = [builder.extract_value(held, place) for place in range(len(held.type.elements))]
    take, work, done = (body.append_basic_block(name) for name in ("take", "work", "done"))
    builder.branch(take)
    builder.position_at_end(take)
    start = builder.atomic_rmw("add", _field(builder, shared, 3), piece, "monotonic")
    builder.cbranch(builder.icmp_signed("<", start, total), work, done)
    builder.position_at_end(work)
    stop = builder.add(start, piece)
    stop = builder.select(builder.icmp_signed("<", stop, total), stop, total)
    # What a kernel raises is lost, as there is no interpreter to tell: kernels do not raise.
    context.call_internal_no_propagate(builder, descriptor, signature, [*arguments, start, stop])
    builder.branch(take)
    builder.position_at_end(done)
    builder.ret_void()


spread: Any = _spread
"""spread(function, arguments, total, piece, team), in compiled code: function(*arguments, start, stop) for consecutive
pieces of `range(total)`, on the threads of `elinvar.parallel.team()`. Pieces must write to disjoint places."""
