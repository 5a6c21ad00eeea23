"""One LSTM layer with peepholes, forward and backward by hand over all times of a minibatch of chunks.

With x_t the input, r_(t-1) the recurrent output and c_(t-1) the cell of the time before, * elementwise:
    i = sigma(W_i [x r 1] + p_i * c_(t-1))     f = sigma(W_f [x r 1] + p_f * c_(t-1))     z = tanh(W_c [x r 1])
    c_t = s (f * c_(t-1) + i * z)     o = sigma(W_o [x r 1] + p_o * c_t)     m_t = o * tanh(c_t)
Without a projection r_t = s m_t and the layer hands up m_t; with one rp_t = W_rp [m_t 1], r_t is s times the first part
of it, and the layer hands up rp_t. s is 1 unless there is a decay.

Everything is time-major: row t B + n is chunk n at time t. A row of `x` is [x_t, r_(t-1), 1], so weight gradients and
natural gradient need no copy. Gates lie side by side in the order i, f, o, c; derivatives overwrite them.

On the way back the derivatives at c_t (whole) and at r_t (the recurrent part alone) are truncated row by row as in
Kaldi: d <- s d, n = |d|, d <- d min(1, clip / n), and d = 0 where n > zero and t - k is a multiple of the interval, k
being the chunk's index in the minibatch (docs/mathematics.md 2.5).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unisono.core import flat
from unisono.core.products import Products
from unisono.nn import packed
from unisono.nn.lstm_shape import Shape, Truncation


class _Time(NamedTuple):
    """Views of one time's rows."""

    gates: Tensor
    i_f: Tensor
    forget_in: Tensor
    i: Tensor
    f: Tensor
    o: Tensor
    z: Tensor
    c_before: Tensor
    c: Tensor
    tanh_c: Tensor
    m: Tensor
    r: Tensor
    r_next: Tensor
    outer: Tensor
    norms: Tensor


class Room:
    """Work space of one layer for `times` times and `chunks` chunks.

    x: [(times + 1) chunks, inputs + recurrent + 1]. gates: [times chunks, 4 cells]. c: [(times + 1) chunks, cells], the
    cell before the first time on top. m: [times chunks, cells + 1] with a column of ones. projected: rp, or m itself
    without its ones. outer: the derivative at what the layer hands up, filled from above. norms: [times, 2, chunks],
    |d| at c and at r. products: room for the per-frame products of a peephole.
    """

    def __init__(self, shape: Shape, times: int, chunks: int, like: Tensor) -> None:
        rows, cells, back = times * chunks, shape.cells, shape.fed_back()
        self.times, self.chunks = times, chunks
        self.x = flat.matrix(rows + chunks, shape.inputs + back + 1, like)
        self.gates, self.c = flat.matrix(rows, 4 * cells, like), flat.matrix(rows + chunks, cells, like)
        self.tanh_c, self.m = flat.matrix(rows, cells, like), flat.matrix(rows, cells + 1, like)
        self.projected = flat.matrix(rows, shape.outputs(), like) if shape.recurrent else self.m[:, :-1]
        self.outer = flat.matrix(rows, shape.outputs(), like)
        self.products = flat.matrix(rows, cells, like)
        self.norms = like.new_zeros(times, 2, chunks)
        self.dm = flat.matrix(chunks, cells, like)
        self.dc, self.spare = flat.matrix(chunks, cells, like), flat.matrix(chunks, cells, like)
        self.at = [self._time(t, shape) for t in range(times)]

    def _time(self, t: int, shape: Shape) -> _Time:
        now, later = slice(t * self.chunks, (t + 1) * self.chunks), slice((t + 1) * self.chunks, (t + 2) * self.chunks)
        gates, cells, r = self.gates[now], shape.cells, slice(shape.inputs, shape.inputs + shape.fed_back())
        i, f, o, z = (gates[:, part * cells : (part + 1) * cells] for part in range(4))
        i_f = gates[:, : 2 * cells].unflatten(1, (2, cells))
        views = (self.c[now], self.c[later], self.tanh_c[now], self.m[now, :-1], self.x[now, r], self.x[later, r])
        return _Time(gates, i_f, gates[:, : 2 * cells], i, f, o, z, *views, self.outer[now], self.norms[t])


class LstmLayer:
    """The passes of one layer; `bind` names its parameters.

    gates: [4 cells, inputs + recurrent + 1]. peepholes: [3, cells] for i, f, o, or None. projection:
    [recurrent + nonrecurrent, cells + 1], or None.
    """

    def __init__(self, shape: Shape, truncation: Truncation) -> None:
        self.shape = shape
        self.truncation = truncation
        self._products = Products()

    def bind(self, gates: Tensor, peepholes: Tensor | None, projection: Tensor | None) -> None:
        """Work with these parameters from now on."""
        inputs = self.shape.inputs
        self._gates, self._peepholes, self._projection = gates, peepholes, projection
        self._own, self._back, self._bias = gates[:, :inputs], gates[:, inputs:-1], gates[:, -1]

    def forward(self, room: Room, products: Products, held: Tensor | None = None, carry: bool = False) -> Tensor:
        """Go through all times and return what is handed up, [rows, outputs].

        The inputs must lie in the first columns of room.x. The state before the first time is zero; with `carry` it is
        that after the last time of the pass before. products: of this pass and of `backward`. held: [times', chunks, 1]
        of 0 and 1 for the first times': where it is 0 state and output stay zero.
        """
        rows, first = room.times * room.chunks, room.at[0]
        self._products = products
        self._forward_product, self._backward_product = self._recurrent(room.chunks)
        if carry:
            first.r.copy_(room.at[-1].r_next)
            first.c_before.copy_(room.at[-1].c)
        else:
            first.r.zero_()  # natural gradient overwrites it
            first.c_before.zero_()
        room.x[:, -1] = 1.0  # natural gradient overwrites the ones
        room.m[:, -1] = 1.0
        products.multiply(room.x[:rows, : self.shape.inputs], self._own.t(), room.gates)
        for t, at in enumerate(room.at):
            self._forward_product(at.r, at.gates)
            if self._peepholes is not None:
                at.i_f.addcmul_(at.c_before[:, None], self._peepholes[:2])
            at.forget_in.sigmoid_()
            torch.tanh(at.z, out=at.z)
            torch.mul(at.i, at.z, out=at.c)
            at.c.addcmul_(at.f, at.c_before)
            if self.truncation.scale != 1.0:
                at.c.mul_(self.truncation.scale)
            hold = held[t] if held is not None and t < len(held) else None
            if hold is not None:
                at.c.mul_(hold)
            if self._peepholes is not None:
                at.o.addcmul_(at.c, self._peepholes[2])
            at.o.sigmoid_()
            torch.tanh(at.c, out=at.tanh_c)
            torch.mul(at.o, at.tanh_c, out=at.m)
            self._hand_on(room, t, hold)
        return room.projected

    def _recurrent(self, chunks: int) -> tuple[packed.Add, packed.Multiply]:
        """Return the products with the recurrent weights, for as many rows as there are chunks."""
        if not self._products.is_short:
            return packed.products(self._back, self._bias, chunks)
        back, multiply = self._products.rounded(self._back), self._products.multiply
        return lambda x, y: y.add_(self._bias).add_(multiply(x, back.t())), lambda y: multiply(y, back)

    def _hand_on(self, room: Room, t: int, hold: Tensor | None) -> None:
        """Make what time t hands up, and feed back its recurrent part."""
        at, now = room.at[t], slice(t * room.chunks, (t + 1) * room.chunks)
        if self._projection is not None:
            self._products.multiply(room.m[now], self._projection.t(), room.projected[now])
        out = room.projected[now]
        if hold is not None and self._projection is not None:
            out.mul_(hold)  # without a projection m is zero already, as the cell is
        at.r_next.copy_(out[:, : self.shape.fed_back()])
        if self.truncation.scale != 1.0:
            at.r_next.mul_(self.truncation.scale)

    def backward(self, room: Room, first: int = 0, start: int = 0, held: Tensor | None = None) -> None:
        """Turn the derivative in `room.outer` into those at the gates, in their place, from the last time to `first`.

        start: the time index t of the first row, for the intervals of the truncation. Rows before `first` are left as
        they are. `room.outer` becomes the whole derivative at what is handed up.
        """
        p, dc, dm, spare = self._peepholes, room.dc, room.dm, room.spare
        keep = self._keep(room, start)
        room.dc.zero_()
        for t in reversed(range(first, room.times)):
            at = room.at[t]
            if t + 1 < room.times:
                dr = self._backward_product(room.at[t + 1].gates)
                self._truncate_(dr, at.norms[1], None if keep is None else keep[t])
                at.outer[:, : self.shape.fed_back()].add_(dr)
            hold = held[t] if held is not None and t < len(held) else None
            if hold is not None:
                at.outer.mul_(hold)
            if self._projection is not None:
                self._products.multiply(at.outer, self._projection[:, :-1], dm)
            else:
                dm = at.outer
            # The cell: through tanh and the output gate, beside what the next time has left in dc.
            torch.mul(dm, at.o, out=spare)
            torch.ops.aten.tanh_backward(spare, at.tanh_c, grad_input=spare)
            dc.add_(spare)
            torch.mul(dm, at.tanh_c, out=spare)
            torch.ops.aten.sigmoid_backward(spare, at.o, grad_input=at.o)
            if p is not None:
                dc.addcmul_(at.o, p[2])
            if hold is not None:
                dc.mul_(hold)
            self._truncate_(dc, at.norms[0], None if keep is None else keep[t])
            torch.mul(dc, at.z, out=at.tanh_c)  # used up above
            torch.mul(dc, at.i, out=spare)
            torch.ops.aten.tanh_backward(spare, at.z, grad_input=at.z)
            torch.ops.aten.sigmoid_backward(at.tanh_c, at.i, grad_input=at.i)
            torch.mul(dc, at.c_before, out=spare)
            dc.mul_(at.f)
            torch.ops.aten.sigmoid_backward(spare, at.f, grad_input=at.f)
            if p is not None:
                dc.addcmul_(at.i, p[0]).addcmul_(at.f, p[1])

    def peephole_rows(self, room: Room, part: int, first: int) -> Tensor:
        """Return the per-frame products [rows, cells] of peephole i, f or o (0, 1, 2) from time `first` on.

        To be called after `backward`; the buffer is the room's own, one for all parts.
        """
        begin, rows, cells = first * room.chunks, room.times * room.chunks, self.shape.cells
        shift = room.chunks if part == 2 else 0
        found = room.products[begin:]
        torch.mul(
            room.gates[begin:, part * cells : (part + 1) * cells], room.c[begin + shift : rows + shift], out=found
        )
        return found

    def down(self, room: Room, out: Tensor, first: int) -> None:
        """Write the derivative at the layer's input into `out` [rows, inputs], zero before time `first`."""
        begin = first * room.chunks
        out[:begin].zero_()
        self._products.multiply(room.gates[begin:], self._own, out[begin:])

    def truncations(self, room: Room, first: int = 0, start: int = 0) -> list[tuple[int, int]]:
        """Return rows clipped and rows zeroed by the last `backward`, for c and for r."""
        keep = self._keep(room, start)
        counts = []
        for place in range(2):
            norms = room.norms[first:, place]
            clipped = int((norms > self.truncation.clip).sum()) if self.truncation.clip > 0.0 else 0
            zeroed = 0 if keep is None else int(((norms > self.truncation.zero) & ~keep[first:, :, 0]).sum())
            counts.append((clipped, zeroed))
        return counts

    def _keep(self, room: Room, start: int) -> Tensor | None:
        """Return [times, chunks, 1], false where a large derivative is zeroed; None where none ever is."""
        if self.truncation.zero <= 0.0:
            return None
        t = torch.arange(start, start + room.times, device=room.x.device)[:, None]
        k = torch.arange(room.chunks, device=room.x.device)
        return ((t - k) % self.truncation.interval != 0)[:, :, None]

    def _truncate_(self, derivative: Tensor, norms: Tensor, keep: Tensor | None) -> None:
        """Truncate the rows of one time, in place, and leave their norms in `norms` [chunks]."""
        clip, zero, _, scale = self.truncation
        if scale != 1.0:
            derivative.mul_(scale)
        if not self.truncation.acts():
            return
        torch.linalg.vector_norm(derivative, dim=1, out=norms)
        size = norms[:, None]
        factor = (clip / size).clamp_(max=1.0) if clip > 0.0 else torch.ones_like(size)
        if keep is not None:
            factor.masked_fill_(~keep & (size > zero), 0.0)
        derivative.mul_(factor)
