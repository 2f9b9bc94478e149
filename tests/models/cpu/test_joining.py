"""What a call makes is the same to the last bit, whichever threads take part in it, and whenever they come."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from streamer.engine.device.cpu_stream import CpuStream
from streamer.models.codec import CodecDecoder
from streamer.models.config import CodecConfig, TransformerConfig
from streamer.models.cpu.compiled_codec import compile_codec
from streamer.models.cpu.int8_forward import MIN_WIDTH
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.cpu.joining import Join, offering, run_joined, taker
from streamer.models.cpu.numba_math import kernel
from streamer.models.cpu.numba_threads import meet, new_counters, new_team, take, takes_alone
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt
from streamer.sampling import SamplingParams
from streamer.stages.token_steps import Choice, TokenSteps

needs_compiled_passes = pytest.mark.skipif(
    torch.cpu._is_amx_tile_supported(), reason="passes are torch's on a processor with AMX"
)

Take = Callable[[Join], None]


def by_others(join: Join) -> None:
    """Three threads do all of the call before the one that offers it begins."""
    threads = [threading.Thread(target=join) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def beside(join: Join) -> None:
    """Three threads come while the call is under way, each when it likes."""
    for number in range(3):
        threading.Timer(2e-5 * number, join).start()


def too_late(join: Join) -> None:
    """A thread comes when all is over, and something else may be under way."""
    threading.Timer(0.05, join).start()


TAKES = pytest.mark.parametrize("take_part", [by_others, beside, too_late])


def is_same(call: Callable[[], Tensor], take_part: Take) -> bool:
    """Whether what `call` makes alone is what it makes with others, five times."""
    alone = call()
    made = []
    for _ in range(5):
        with offering(take_part):
            made.append(call())
    return all(torch.equal(each, alone) for each in made)


@pytest.fixture(scope="module", params=[False, True], ids=["bytes", "nibbles"])
def network(request: pytest.FixtureRequest) -> CausalGpt:
    torch.manual_seed(1)
    gpt = CausalGpt(TransformerConfig(2, 4, MIN_WIDTH, 48, 60, 60)).eval()
    if request.param:
        for parameter in gpt.transformer.h.parameters():
            if parameter.dim() > 1:
                scale = parameter.data.abs().amax(dim=1, keepdim=True) / 7
                parameter.data = (parameter.data / scale).round() * scale
    use_int8(gpt)
    return gpt


@pytest.fixture
def steps(network: CausalGpt) -> TokenSteps:
    made = TokenSteps(network, network.new_cache(3), Choice(0, 30, num_turns=2))
    for slot in range(3):
        made.begin(slot, 5 + slot, 0.8, SamplingParams(0))
    return made


@needs_compiled_passes
@TAKES
def test_a_prefill_and_its_draw(network: CausalGpt, steps: TokenSteps, take_part: Take) -> None:
    assert steps._prefill_and_draw is not None
    embeddings = network.embed(torch.arange(40)[None])
    assert is_same(lambda: steps.prefill(embeddings, [(1, 0)], [SamplingParams(0)]), take_part)


@TAKES
def test_decode_steps_in_a_row(network: CausalGpt, steps: TokenSteps, take_part: Take) -> None:
    """Those of three sentences at different positions; with weights of four bits nobody is told of them."""

    def call() -> Tensor:
        for slot in range(3):
            steps.prefill(network.embed(torch.arange(20 + slot)[None]), [(slot, 0)], [SamplingParams(0)])
        places = [(slot, 20 + slot, 1) for slot in range(3)]
        return torch.cat(steps.decode(places, [SamplingParams(0)] * 3, 12))

    assert is_same(call, take_part)


@needs_compiled_passes
@TAKES
def test_a_fine_chunk(take_part: Take) -> None:
    from streamer.engine.device.numba_fill import fill_codebooks
    from streamer.models.cpu.compiled_fine import compiled_fine

    torch.manual_seed(2)
    fine = FineGpt(TransformerConfig(2, 4, MIN_WIDTH, 96, 40, 40), 5, 2).eval()
    use_int8(fine)
    compiled = compiled_fine(fine)
    assert compiled is not None
    given = torch.randint(32, (5, 90))

    def call() -> Tensor:
        codes = given.clone()
        assert fill_codebooks(compiled, codes, (20, 90, 85), 0, 0.7, [3, 1, 4], 32)
        return codes

    assert is_same(call, take_part)


@TAKES
def test_the_codec(take_part: Take) -> None:
    """Chunks of two sentences, each of which goes on from its state, in several tiles."""
    torch.manual_seed(3)
    codec = CodecDecoder(
        CodecConfig(num_codebooks=3, codebook_size=16, dimension=8, num_filters=4, ratios=(4, 3, 2))
    ).eval()
    compile_codec(codec)
    codes, slots = torch.randint(16, (2, 3, 70)), torch.tensor([1, 0])

    def call() -> Tensor:
        state = codec.initial_state(2)
        with torch.inference_mode():
            chunks = [
                codec.decode_chunk(codes[:, :, :41], state, slots, first=True),
                codec.decode_chunk(codes[:, :, 41:], state, slots, first=False),
            ]
        return torch.cat(chunks, dim=1)

    assert is_same(call, take_part)


@kernel
def _work(counters, sizes, times, order):
    """Do a phase's pieces after a thread has counted the phase; `times` [phases, pieces] counts how often each."""
    team = new_team(counters)
    for phase in range(len(sizes)):
        if takes_alone(team):
            order[phase] = np.sum(times)
        meet(team, 1)
        piece = take(team)
        while piece < sizes[phase]:
            times[phase, piece] += 1
            piece = take(team)
        meet(team, sizes[phase])


def test_each_piece_is_done_once_and_after_all_pieces_of_the_phases_before() -> None:
    sizes = np.array([1, 7, 2, 30, 5] * 40)
    for _ in range(20):
        times, order = np.zeros((len(sizes), 30), np.int64), np.zeros(len(sizes), np.int64)
        arguments = new_counters(2 * len(sizes)), sizes, times, order
        others = [threading.Thread(target=_work, args=arguments) for _ in range(3)]
        for other in others:
            other.start()
        _work(*arguments)
        made = times.sum(1)
        assert np.array_equal(made, sizes) and times.max() == 1
        assert np.array_equal(order, np.cumsum(sizes) - sizes)
        for other in others:
            other.join(10)
            assert not other.is_alive()


def test_a_phase_without_pieces_is_passed() -> None:
    sizes = np.array([0, 3, 0, 0, 1])
    times, order = np.zeros((5, 30), np.int64), np.zeros(5, np.int64)
    arguments = new_counters(2 * len(sizes)), sizes, times, order
    threads = [threading.Thread(target=_work, args=arguments) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert np.array_equal(times.sum(1), sizes)


def test_a_call_is_offered_to_the_innermost_taker_of_its_own_thread() -> None:
    taken: list[str] = []

    def call() -> None:
        run_joined(lambda: None, new_counters(1))

    call()  # Nobody is told.
    with offering(lambda _: taken.append("outer")):
        with offering(lambda _: taken.append("inner")):
            call()
            other = threading.Thread(target=call)
            other.start()
            other.join()
        call()
    assert taken == ["inner", "outer"] and taker() is None


@pytest.mark.parametrize("fails_in", ["the leader", "another"])
def test_a_failure_in_any_thread_is_the_calls_when_all_have_left_it(fails_in: str) -> None:
    """None of them waits for what the one that failed had begun, and none begins anything more."""
    counters, times = new_counters(3), np.zeros(3, np.int64)
    leader, has_taken, others = threading.get_ident(), threading.Event(), []

    def work() -> None:
        team = new_team(counters)
        is_leader = threading.get_ident() == leader
        if is_leader == (fails_in == "the leader"):
            assert take(team) == 0
            has_taken.set()
            raise MemoryError("no room")
        assert has_taken.wait(10)
        _some_phases(team, times)

    def take_part(join: Join) -> None:
        others.append(threading.Thread(target=join))
        others[0].start()

    with offering(take_part), pytest.raises(MemoryError, match="no room"):
        run_joined(work, counters)
    others[0].join(10)
    assert not others[0].is_alive() and times.max() <= 1


@kernel
def _some_phases(team, times):
    for phase in range(3):
        piece = take(team)
        while piece < 2:
            times[phase] += 1
            piece = take(team)
        meet(team, 2)


def test_a_join_that_comes_too_late_does_nothing() -> None:
    joins: list[Join] = []
    times_done: list[None] = []
    with offering(joins.append):
        run_joined(lambda: times_done.append(None), new_counters(1))
    assert joins[0]() == 0 and len(times_done) == 1


def test_a_stream_takes_part_in_what_it_is_invited_to_only_while_it_is_idle() -> None:
    stream, joined, may_end = CpuStream(), threading.Event(), threading.Event()

    def join() -> float:
        joined.set()
        return 1.5

    try:
        _until_idle(stream)
        stream.invite(join)
        assert joined.wait(10)
        _until_idle(stream)
        assert stream.take_joined_s() == 1.5 and stream.take_joined_s() == 0

        def hang() -> Tensor:
            may_end.wait(10)
            return torch.tensor(0)

        pending = stream.launch(hang, lambda _: None)
        joined.clear()
        stream.invite(join)
        may_end.set()
        pending.finish()
        _until_idle(stream)
        assert not joined.is_set()
    finally:
        stream.close(10)


def test_whoever_waits_for_a_call_takes_part_in_what_it_offers() -> None:
    """As often as it offers something, and a call that fails leaves nobody waiting."""
    stream, joined = CpuStream(), []
    try:

        def call() -> Tensor:
            for number in range(3):
                done = threading.Event()

                def work(number: int = number, done: threading.Event = done) -> None:
                    if threading.current_thread() is threading.main_thread():
                        joined.append(number)
                        done.set()
                    assert done.wait(10)

                run_joined(work, new_counters(1))
            raise MemoryError("no room")

        pending = stream.launch(call, lambda _: None)
        with pytest.raises(MemoryError, match="no room"):
            pending.finish()
        assert joined == [0, 1, 2] and pending.joined_s > 0
    finally:
        stream.close(10)


def _until_idle(stream: CpuStream) -> None:
    stream.launch(lambda: torch.tensor(0), lambda _: None).finish()
    for _ in range(1000):
        if stream.is_idle:
            return
        threading.Event().wait(0.01)
    pytest.fail("the stream does not become idle")
