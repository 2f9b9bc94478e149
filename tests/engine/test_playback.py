"""When a listener falls silent: the arithmetic behind the scheduler's order."""

from streamer.engine.playback import PlaybackState


def listening(*sentences: int) -> PlaybackState:
    playback = PlaybackState()
    for index in sentences:
        playback.open(index)
    return playback


def test_only_the_first_sentence_keeps_a_new_listener_waiting():
    """Until the first sound he waits for sentence 0; what follows it is in no hurry."""
    playback = listening(0, 1)
    assert playback.waits_for(0)
    assert not playback.waits_for(1)
    playback.deliver(0, 0.5, now_s=2.0)
    assert not playback.waits_for(0)


def test_he_runs_dry_when_all_he_has_is_played():
    """The first sound's time and all sound since, over the sentences up to the one asked about."""
    playback = listening(0, 1)
    assert playback.underrun_at_s(0) == float("inf")
    playback.deliver(0, 0.5, now_s=2.0)
    playback.consume(0, 0.5, now_s=2.0)
    playback.deliver(1, 3.0, now_s=2.1)
    playback.deliver(0, 0.25, now_s=2.2)
    assert playback.underrun_at_s(0) == 2.75
    assert playback.underrun_at_s(1) == 5.75


def test_after_a_gap_he_plays_from_then_on():
    """Sound that came late is heard when it comes, and lasts from there; a later sentence's ends no gap."""
    playback = listening(0, 1)
    playback.deliver(0, 1.0, now_s=0.0)
    playback.consume(0, 1.0, now_s=0.0)
    playback.deliver(1, 1.0, now_s=3.0)
    assert playback.underrun_at_s(0) == 1.0
    playback.deliver(0, 0.5, now_s=4.0)
    assert playback.underrun_at_s(0) == 4.5


def test_who_stops_reading_is_not_silent():
    """Sound he leaves lying is ahead of him still when more is made, and when he goes on after half a minute."""
    playback = listening(0)
    playback.deliver(0, 1.0, now_s=0.0)
    playback.consume(0, 1.0, now_s=0.0)
    playback.deliver(0, 5.0, now_s=0.5)
    playback.deliver(0, 2.0, now_s=20.0)
    assert playback.underrun_at_s(0) == 27.0
    playback.consume(0, 1.0, now_s=31.0)
    assert playback.underrun_at_s(0) == 38.0


def test_closed_sentences_still_count():
    """Closing keeps what was heard, also where a later sentence closes first."""
    playback = listening(0, 1, 2)
    for index in range(3):
        playback.deliver(index, 1.0, now_s=1.0)
    playback.close(1)
    assert (playback.underrun_at_s(0), playback.underrun_at_s(2)) == (2.0, 4.0)
    playback.close(0)
    assert playback.underrun_at_s(2) == 4.0


def test_untaken_sound_of_earlier_sentences_counts_as_ahead():
    """Sentence 1 is ahead by what waits of both; once taken or closed it is not."""
    playback = listening(0, 1)
    playback.deliver(0, 3.0, now_s=0.0)
    playback.deliver(1, 2.0, now_s=0.0)
    assert (playback.buffered_s(0), playback.buffered_s(1)) == (3.0, 5.0)
    playback.consume(0, 1.0, now_s=0.0)
    assert playback.buffered_s(1) == 4.0
    playback.close(0)
    assert playback.buffered_s(1) == 2.0


def test_an_utterance_is_over_when_nothing_is_open_and_all_was_heard():
    """Not in a pause between two sentences while sound still plays."""
    playback = listening(0)
    playback.deliver(0, 2.0, now_s=1.0)
    assert not playback.is_over(9.0)
    playback.close(0)
    assert not playback.is_over(2.5)
    assert playback.is_over(3.0)


def test_a_sentence_asked_for_once_more_counts_once():
    """The sound of the first time was thrown away, also where the next sentence had ended before it."""
    playback = listening(0, 1, 2)
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
