"""When playback underruns: the arithmetic behind the scheduler's deadlines."""

from streamer.engine.playback import PlaybackState, PlaybackStates


def playback_of(*sentences: int) -> PlaybackState:
    playback = PlaybackState()
    for index in sentences:
        playback.open(index)
    return playback


def test_playback_begins_with_the_first_sentence():
    """Until the first audio the client waits for sentence 0; later sentences are not urgent."""
    playback = playback_of(0, 1)
    assert playback.waits_for(0)
    assert not playback.waits_for(1)
    playback.deliver(0, 0.5, now_s=2.0)
    assert not playback.waits_for(0)


def test_playback_underruns_when_all_audio_is_played():
    """That is the time of the first audio plus all audio since, of the sentences up to the given one."""
    playback = playback_of(0, 1)
    assert playback.underrun_at_s(0) == float("inf")
    playback.deliver(0, 0.5, now_s=2.0)
    playback.consume(0, 0.5, now_s=2.0)
    playback.deliver(1, 3.0, now_s=2.1)
    playback.deliver(0, 0.25, now_s=2.2)
    assert playback.underrun_at_s(0) == 2.75
    assert playback.underrun_at_s(1) == 5.75


def test_after_a_stall_playback_continues_with_the_late_audio():
    """Late audio is played when it arrives; audio of a later sentence does not end a stall."""
    playback = playback_of(0, 1)
    playback.deliver(0, 1.0, now_s=0.0)
    playback.consume(0, 1.0, now_s=0.0)
    playback.deliver(1, 1.0, now_s=3.0)
    assert playback.underrun_at_s(0) == 1.0
    playback.deliver(0, 0.5, now_s=4.0)
    assert playback.underrun_at_s(0) == 4.5


def test_a_reader_that_pauses_does_not_stall():
    """Audio that was not consumed is still to be played when more is made, and when the reader continues later."""
    playback = playback_of(0)
    playback.deliver(0, 1.0, now_s=0.0)
    playback.consume(0, 1.0, now_s=0.0)
    playback.deliver(0, 5.0, now_s=0.5)
    playback.deliver(0, 2.0, now_s=20.0)
    assert playback.underrun_at_s(0) == 27.0
    playback.consume(0, 1.0, now_s=31.0)
    assert playback.underrun_at_s(0) == 38.0


def test_closed_sentences_still_count():
    """The audio of a closed sentence counts, even if a later sentence closes first."""
    playback = playback_of(0, 1, 2)
    for index in range(3):
        playback.deliver(index, 1.0, now_s=1.0)
    playback.close(1)
    assert (playback.underrun_at_s(0), playback.underrun_at_s(2)) == (2.0, 4.0)
    playback.close(0)
    assert playback.underrun_at_s(2) == 4.0


def test_audio_that_was_not_consumed_is_buffered():
    """Up to sentence 1 that is the audio of both sentences, until it is consumed or its sentence is closed."""
    playback = playback_of(0, 1)
    playback.deliver(0, 3.0, now_s=0.0)
    playback.deliver(1, 2.0, now_s=0.0)
    assert (playback.buffered_s(0), playback.buffered_s(1)) == (3.0, 5.0)
    playback.consume(0, 1.0, now_s=0.0)
    assert playback.buffered_s(1) == 4.0
    playback.close(0)
    assert playback.buffered_s(1) == 2.0


def test_an_utterance_is_over_when_nothing_is_open_and_all_was_played():
    """It is not over between two sentences while audio is still being played."""
    playback = playback_of(0)
    playback.deliver(0, 2.0, now_s=1.0)
    assert not playback.is_over(9.0)
    playback.close(0)
    assert not playback.is_over(2.5)
    assert playback.is_over(3.0)


def test_a_sentence_requested_again_counts_once():
    """The audio of its first attempt was discarded, even if the next sentence had ended before it."""
    playback = playback_of(0, 1, 2)
    for index, duration_s in enumerate((1.0, 15.0, 2.0)):
        playback.deliver(index, duration_s, now_s=0.0)
        playback.consume(index, duration_s, now_s=0.0)
    for index in (0, 2, 1):
        playback.close(index)
    assert playback.underrun_at_s(2) == 18.0
    playback.open(1)
    assert (playback.underrun_at_s(1), playback.underrun_at_s(2), playback.buffered_s(2)) == (1.0, 3.0, 0.0)
    assert not playback.is_over(now_s=100.0)
    playback.deliver(1, 4.0, now_s=0.5)
    playback.close(1)
    assert playback.underrun_at_s(2) == 7.0
    assert playback.is_over(now_s=7.0)


def test_only_utterances_that_are_not_over_are_kept():
    """A playback is forgotten once it was played to its end, when another one is asked for."""
    playbacks = PlaybackStates()
    first = playbacks.get("first", 0.0)
    first.open(0)
    assert playbacks.get("first", 50.0) is first
    first.deliver(0, 2.0, now_s=50.0)
    first.close(0)
    playbacks.get("second", 51.0).open(0)
    assert len(playbacks) == 2
    playbacks.get("third", 53.0)
    assert len(playbacks) == 2
    assert playbacks.get("first", 53.0) is not first


def test_what_is_ahead_ends_with_the_first_open_sentence():
    """Sound of a later sentence cannot be played before it, however much of it was delivered."""
    playback = PlaybackState()
    assert playback.ahead is None
    playback.open(0)
    playback.open(1)
    playback.deliver(0, 1.0, now_s=10.0)
    playback.deliver(1, 5.0, now_s=10.0)
    assert playback.ahead == (11.0, 1.0)
    playback.close(0)
    assert playback.ahead == (16.0, 5.0)
    playback.close(1)
    assert playback.ahead is None
